"""`steer bench-truth`: methods and trainers on what is known, row by row, resumable."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path

from apps.studies.truth.asked import Asked
from apps.studies.truth.methods import METHODS, Method
from apps.studies.truth.recovery import Size, configurations, recovered
from apps.studies.truth.synthetic import Synthetic, synthetic
from apps.studies.truth.world import WORLDS, planted_world
from steer.disk.ledger import Key, Ledger, Row
from steer.errors import SteerError
from steer.progress import Progress

PARTS = ("methods", "trainers")
REVISION = 1
"""Raised when the same seed comes to give other worlds or samples."""


@dataclass(frozen=True)
class Settings:
    """worlds: seeds of each kind of planted transformer; sets: of synthetic samples.

    only: labels of methods and trainers, all by default.
    checkpoints: a folder for trainings that are stopped half way.
    """

    parts: tuple[str, ...] = PARTS
    worlds: int = 3
    sets: int = 1
    size: Size = field(default_factory=Size)
    only: tuple[str, ...] = ()
    checkpoints: Path | None = None

    def __post_init__(self) -> None:
        if unknown := [part for part in self.parts if part not in PARTS]:
            raise SteerError(f"no part {unknown[0]!r} of the truth; there are {', '.join(PARTS)}")
        labels = [method.name for method in METHODS] + list(configurations(self.size.seen, 0))
        if unknown := [label for label in self.only if label not in labels]:
            raise SteerError(f"no method or trainer {unknown[0]!r}; there are {'; '.join(labels)}")


@dataclass(frozen=True)
class _Case:
    """key: what the row begins with, which is what it is known by."""

    key: dict[str, str | int]
    run: Callable[[Progress | None], Row]

    @property
    def unit(self) -> Key:
        return tuple(self.key.values())


def bench(
    settings: Settings, file: Path | None = None, progress: Progress | None = None
) -> list[Row]:
    """All rows, of which those in `file` are not made again; each is written as it is there.

    Raises `SteerError` for a file of another kind.
    """
    ledger = Ledger(file, {"truth": REVISION})
    units = ledger.read().units
    rows = [row for unit in units.values() for row in unit]
    cases = [case for case in _cases(settings) if case.unit not in units]
    for number, case in enumerate(cases):
        if progress:
            progress(" ".join(str(value) for value in case.key.values()), number, len(cases))
        begun = time.process_time()
        row = {**case.key, **case.run(progress), "cpu_seconds": 0.0}
        row["cpu_seconds"] = round(time.process_time() - begun, 1)
        ledger.append(case.unit, [row])
        rows.append(row)
    return rows


def _cases(settings: Settings) -> Iterator[_Case]:
    def wanted(label: str) -> bool:
        return not settings.only or label in settings.only

    if "methods" in settings.parts:
        for seed in range(settings.worlds):
            for kind in WORLDS:
                for method in filter(lambda method: wanted(method.name), METHODS):
                    yield _method(method, kind, seed)
    if "trainers" in settings.parts:
        for seed in range(settings.sets):
            for label in filter(wanted, configurations(settings.size.seen, seed)):
                yield _trainer(label, seed, settings)


@cache
def _asked(kind: str, seed: int) -> Asked:
    return Asked(planted_world(kind, seed), seed)


def _method(method: Method, kind: str, seed: int) -> _Case:
    def run(progress: Progress | None) -> Row:
        tally = method.ask(_asked(kind, seed))
        return {"by": method.kind, **asdict(tally.count), "gap": tally.gap}

    return _Case({"part": "methods", "kind": kind, "seed": seed, "label": method.name}, run)


@cache
def _data(samples: int, heldout: int, seed: int) -> Synthetic:
    return synthetic(samples, heldout, seed)


def _trainer(label: str, seed: int, settings: Settings) -> _Case:
    size = settings.size
    config = configurations(size.seen, seed)[label]

    def run(progress: Progress | None) -> Row:
        data = _data(size.samples, size.heldout, seed)
        name = f"{label}-{seed}-{size.seen}.pt".replace(" ", "-").replace(",", "")
        checkpoint = None if settings.checkpoints is None else settings.checkpoints / name
        row = recovered(data, label, config, checkpoint=checkpoint, progress=progress)
        if checkpoint is not None:
            checkpoint.unlink(missing_ok=True)
        return row

    kind = f"{size.seen} of {size.samples}"
    return _Case({"part": "trainers", "kind": kind, "seed": seed, "label": label}, run)


def of_part(rows: Sequence[Row], part: str) -> list[Row]:
    return [row for row in rows if row["part"] == part]
