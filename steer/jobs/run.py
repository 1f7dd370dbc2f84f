"""A job run to its end: here, a shard of it, or by an executor; into a ledger as it goes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from steer.disk.ledger import Ledger, Row
from steer.disk.merge import Shard
from steer.disk.parquet import is_parquet
from steer.errors import SteerError
from steer.jobs.job import Job
from steer.lm.remote_jobs import forget_taken
from steer.progress import Progress

M = TypeVar("M")


@dataclass(frozen=True)
class Finished:
    """A unit that is done, and how many its part has."""

    part: int
    unit: int
    units: int
    rows: list[Row]


@dataclass(frozen=True)
class Todo:
    """Which units are to be run: the shard's, unless they are done."""

    shard: Shard
    done: frozenset[tuple[int, int]]

    def has(self, part: int, unit: int) -> bool:
        return self.shard.has(part, unit) and (part, unit) not in self.done

    def first_of(self, part: int, most_units: int) -> int | None:
        """The first unit of a part that may have to be run; None if none can be."""
        return next((unit for unit in range(most_units) if self.has(part, unit)), None)


Executor = Callable[[Job[Any], Any, Todo], Iterator[Finished]]
"""Runs the units that are to be run, in any order."""


def here(job: Job[M], model: M, todo: Todo) -> Iterator[Finished]:
    """In this process, one after the other."""
    for part in range(job.parts):
        if todo.first_of(part, job.most_units) is None:
            continue
        opened = job.open(model, part)
        for unit in range(opened.units):
            if todo.has(part, unit):
                yield Finished(part, unit, opened.units, opened.rows(unit))


@dataclass(frozen=True)
class Spread:
    """How a job is spread, and where its rows go.

    file: where units are written as they are finished; a job that stopped goes on from it.
    shard: which units are run; all but the first shard of one need a file.
    executor: who runs them.
    """

    file: Path | None
    shard: Shard
    executor: Executor = here

    @classmethod
    def of(cls, file: Any, shard: str | None, executor: Executor | None = None) -> Spread:
        """Raises `SteerError` for a shard without a file, and for columns as that file."""
        which = Shard.parse(shard) if shard else Shard()
        if which.count > 1 and file is None:
            raise SteerError(f"shard {which} has nowhere to go: give a file, which is then merged")
        path = None if file is None else Path(file)
        if path is not None and is_parquet(path):
            raise SteerError(
                f"{path} can't grow by a unit at a time: give a file of lines, such as "
                f"{path.with_suffix('.jsonl')}; steer merge makes columns of it"
            )
        return cls(path, which, executor or here)

    @property
    def whole(self) -> bool:
        """Whether all rows are found, and not a shard's alone."""
        return self.shard.count == 1

    def ledger(self, header: dict[str, Any]) -> Ledger:
        """Of a job with this header."""
        return Ledger(self.file, self.shard.header(header))


def run(
    job: Job[M],
    model: M,
    spread: Spread,
    header: dict[str, Any],
    progress: Progress | None = None,
) -> list[Row]:
    """The job's rows (or the shard's), in the order of its units.

    Raises `SteerError` for a file of another job, and what its units raise.
    """
    ledger = spread.ledger(header)
    there = ledger.read()
    units = {(int(key[1]), int(key[2])): rows for key, rows in there.of(job.stage).items()}
    if job.stage not in there.ends:
        todo = Todo(spread.shard, frozenset(units))
        shares = dict.fromkeys(range(job.parts), 0.0)
        for done in spread.executor(job, model, todo):
            ledger.append((job.stage, done.part, done.unit), done.rows)
            if spread.file is not None:
                forget_taken()
            units[done.part, done.unit] = done.rows
            shares[done.part] += 1 / done.units
            if progress:
                share = max(sum(shares.values()), done.part + shares[done.part])
                said = f"{job.doing}: {job.part} {done.part + 1} of {job.parts}"
                progress(said, int(1000 * share), 1000 * job.parts)
        ledger.end(job.stage, len(units))
    return [row for key in sorted(units) for row in units[key]]
