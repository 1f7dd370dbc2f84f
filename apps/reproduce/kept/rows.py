"""Long loops that continue where an interrupted run stopped: rows are written as they are found."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, TypeVar

from apps.reproduce.kept.parts import digest
from apps.reproduce.settings import Settings
from steer.disk.ledger import Ledger

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    Row = TypeVar("Row", bound=DataclassInstance)
Item = TypeVar("Item")


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
    for row in ledger.read():
        by_item.setdefault(row["item"], []).append(row["row"])
    for number, (name, item) in enumerate(items.items()):
        if name not in by_item:
            by_item[name] = [asdict(row) for row in find(item)]
            ledger.append([{"item": name, "row": row} for row in by_item[name]])
        settings.progress(what, number + 1, len(items))
    return [kind(**row) for name in items for row in by_item[name]]
