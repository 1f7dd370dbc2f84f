"""Results of long loops, kept as JSON in the cache as they come: an interrupted run continues.

Many small items share one ledger, a line each (`rows_of_each`). A few large ones have a part each
(`parts_of_each`), so that a run with other items finds those that it shares.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeVar, runtime_checkable

from apps.reproduce.kept.parts import digest, part
from apps.reproduce.settings import Settings
from steer.disk.ledger import Ledger

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    Row = TypeVar("Row", bound=DataclassInstance)
Item = TypeVar("Item")


@runtime_checkable
class Kept(Protocol):
    """A dataclass that says itself how it is written down; others must hold JSON values."""

    def to_dict(self) -> dict[str, Any]: ...

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self: ...


def rows_of_each(
    settings: Settings,
    what: str,
    made_of: Mapping[str, Any],
    items: Mapping[str, Item],
    find: Callable[[Item], Sequence[Row]],
    kind: type[Row],
) -> list[Row]:
    """`find` of every item, in order; those that a run with equal settings found are read.

    what: names the ledger in the cache, and the progress; made_of: JSON values that decide the
    rows, besides the model and the seed.
    """
    header = {
        "what": what,
        "model": settings.load().fingerprint,
        "seed": settings.seed,
        **made_of,
    }
    ledger = Ledger(settings.cache / f"{what.replace(' ', '-')}-{digest(header)}.jsonl", header)
    by_item: dict[str, list[dict[str, Any]]] = {}
    for row in chain.from_iterable(ledger.read().units.values()):
        by_item.setdefault(row["item"], []).append(row["row"])
    for number, (name, item) in enumerate(items.items()):
        if name not in by_item:
            by_item[name] = [_written(row) for row in find(item)]
            ledger.append(("item", name), [{"item": name, "row": row} for row in by_item[name]])
        settings.progress(what, number + 1, len(items))
    return [_read(kind, row) for name in items for row in by_item[name]]


def parts_of_each(
    settings: Settings,
    what: str,
    name: str,
    made_of: Callable[[Item], Mapping[str, Any]],
    items: Sequence[Item],
    find: Callable[[Item], Sequence[Row]],
    kind: type[Row],
) -> list[Row]:
    """`find` of every item, in order; those that were found with an equal `made_of` are read.

    what: names the progress; name: the parts; made_of: all JSON values that decide an item's rows.
    """
    rows: list[Row] = []
    for number, item in enumerate(items):

        def write(folder: Path, item: Item = item) -> None:
            rows = [_written(row) for row in find(item)]
            (folder / "result.json").write_text(json.dumps(rows))

        folder = part(settings.cache, name, made_of(item), write)
        rows += [_read(kind, row) for row in json.loads((folder / "result.json").read_text())]
        settings.progress(what, number + 1, len(items))
    return rows


def _written(row: Row) -> dict[str, Any]:
    return row.to_dict() if isinstance(row, Kept) else asdict(row)


def _read(kind: type[Row], written: dict[str, Any]) -> Row:
    return kind.from_dict(written) if issubclass(kind, Kept) else kind(**written)
