"""How long work is spread: --file, --shard for one process of several, --ray for a cluster."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from steer.errors import SteerError

if TYPE_CHECKING:
    from apps.cli.output import View
    from steer.jobs.run import Executor


@dataclass(frozen=True)
class Sharded:
    """Where rows go, and which of them are found here."""

    file: Annotated[Path | None, typer.Option(help="Rows as they come; continued if there.")] = None
    shard: Annotated[
        str | None,
        typer.Option(metavar="I/N", help="Only part I of N, into --file; then steer merge."),
    ] = None

    def check(self, *options: tuple[str, object]) -> None:
        """Raise `SteerError` for an option (its name, and what was given) that is of all results:
        a shard has none, and would do nothing with it."""
        for name, given in options:
            if self.shard is not None and given:
                raise SteerError(
                    f"{name} is for all results, and --shard {self.shard} has a part of them: "
                    "leave it out here, and give it with --file after steer merge"
                )

    @property
    def spread(self) -> dict[str, Any]:
        """As functions of `steer` take it."""
        return {"file": self.file, "shard": self.shard}

    def told(self, emit: Callable[[Any, View], None]) -> bool:
        """Whether this is a shard: then it is told what is in its file, and there are no results,
        which are of all shards."""
        if self.shard is None or self.file is None:
            return False
        tell_shard(self.shard, self.file, emit, "join all with steer merge")
        return True


def tell_shard(shard: str, file: Path, emit: Callable[[Any, View], None], after: str) -> None:
    """What a shard's file has, and what is to be done once all are there."""
    from steer.disk.ledger import read_ledger

    there = read_ledger(file)
    rows = sum(map(len, there.units.values()))
    document = {"shard": shard, "file": str(file), "rows": rows, "units": len(there.units)}
    line = f"shard {shard}: {len(there.units)} units, {rows:,} rows in {file}"
    emit(document, lambda: f"{line}; {after}")


@dataclass(frozen=True)
class Spread:
    """Work that is spread and keeps its own file: a part of it, or all on a cluster."""

    shard: Annotated[str | None, typer.Option(metavar="I/N", help="Only part I of N.")] = None
    ray: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="Spread over a Ray cluster; local starts one here."),
    ] = None

    @property
    def executor(self) -> Executor | None:
        """Raises `MissingExtraError` without Ray."""
        return _ray(self.ray)


@dataclass(frozen=True)
class Work(Sharded):
    """The same, or all of them on a cluster."""

    ray: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="Spread over a Ray cluster; local starts one here."),
    ] = None

    @property
    def spread(self) -> dict[str, Any]:
        """As functions of `steer` take it."""
        return {**super().spread, "executor": _ray(self.ray)}


def _ray(address: str | None) -> Executor | None:
    from steer.jobs.ray import Ray

    return None if address is None else Ray(address)
