"""`steer bench-training`: trainers on the same activations, in turns, in one run.

Each trainer does a few steps, then the next one does, and so on for some rounds; which begins
moves on by one a round. So a machine that slows down favours nobody. Times are the processor's
seconds a thread, which other work on the machine does not lengthen, and those of a clock.
"""

from __future__ import annotations

import contextlib
import io
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from apps.studies.machine import machine
from apps.studies.trainers.size import Size, Trainer
from apps.studies.trainers.trainers import KINDS, Kind
from steer.errors import SteerError
from steer.progress import Progress


@dataclass(frozen=True, eq=False)
class Activations:
    """train, heldout [n, d] fp32, in memory, of mean norm √d; of: where they are from."""

    train: Tensor
    heldout: Tensor
    of: str

    @classmethod
    def scaled(cls, train: Tensor, heldout: Tensor, of: str) -> Activations:
        """Both by one factor, as each trainer would scale its input."""
        factor = train.shape[1] ** 0.5 / train.float().norm(dim=-1).mean()
        return cls(train.float() * factor, heldout.float() * factor, of)


@dataclass(frozen=True)
class Turn:
    """A trainer's steps in a round: processor's seconds a thread, and those of a clock."""

    trainer: str
    round: int
    samples: int
    processor_seconds: float
    clock_seconds: float


@dataclass(frozen=True)
class Benched:
    """turns: as they were. fvu: of each trainer on held-out activations, after all samples.

    missing: a line for each trainer that is not installed.
    """

    size: Size
    of: str
    turns: tuple[Turn, ...]
    fvu: dict[str, float]
    versions: dict[str, str]
    missing: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        return {"machine": machine(), **asdict(self)}


def chosen(only: Sequence[str] = ()) -> list[Kind]:
    """The trainers of these names, all by default. Raises `SteerError` for one there is not."""
    names = [kind.name for kind in KINDS]
    if unknown := [name for name in only if name not in names]:
        raise SteerError(f"no trainer {unknown[0]!r}; there are {'; '.join(names)}")
    return [kind for kind in KINDS if not only or kind.name in only]


def bench(
    activations: Activations,
    size: Size,
    only: Sequence[str] = (),
    progress: Progress | None = None,
) -> Benched:
    """All that are installed, round by round.

    Raises `SteerError` for fewer activations than samples, or a name that no trainer has.
    """
    if len(activations.train) < size.samples:
        raise SteerError(
            f"{len(activations.train)} activations are fewer than {size.samples} samples, and "
            "each is seen once: give fewer samples, or more activations"
        )
    kinds = chosen(only)
    there = [kind for kind in kinds if kind.missing is None]
    train = activations.train[: size.samples]
    trainers = {kind.name: _quietly_made(kind, train, size) for kind in there}
    turns: list[Turn] = []
    for number, name, trainer in _turns(trainers, size.rounds):
        if progress:
            progress(f"{name}, round {number + 1}", len(turns), len(trainers) * size.rounds)
        turns.append(_timed(name, trainer, number, size))
    unexplained = {name: fvu(trainer, activations.heldout) for name, trainer in trainers.items()}
    return Benched(
        size=size,
        of=activations.of,
        turns=tuple(turns),
        fvu=unexplained,
        versions={kind.name: kind.version or "" for kind in there},
        missing=tuple(dict.fromkeys(kind.missing for kind in kinds if kind.missing)),
    )


def _turns(trainers: dict[str, Trainer], rounds: int) -> Iterator[tuple[int, str, Trainer]]:
    order = list(trainers.items())
    for number in range(rounds):
        for name, trainer in order:
            yield number, name, trainer
        order = order[1:] + order[:1]


def _quietly_made(kind: Kind, train: Tensor, size: Size) -> Trainer:
    with apart():
        return kind.make(train, size)


def _timed(name: str, trainer: Trainer, number: int, size: Size) -> Turn:
    with apart():
        clock, processor = time.perf_counter(), time.process_time()
        trainer.go_on(size.steps_a_round)
        processor = (time.process_time() - processor) / torch.get_num_threads()
        clock = time.perf_counter() - clock
    return Turn(name, number, size.steps_a_round * size.batch, processor, clock)


@contextlib.contextmanager
def apart() -> Iterator[None]:
    """Without what a library prints, and without what it sets for the whole process."""
    precision = torch.get_float32_matmul_precision()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        try:
            yield
        finally:
            torch.set_float32_matmul_precision(precision)


@torch.no_grad()
def fvu(trainer: Trainer, heldout: Tensor) -> float:
    """Share of the variance of activations [n, d] that the dictionary, as it is, leaves."""
    error = (heldout - trainer.reconstruct(heldout)).square().sum()
    return (error / (heldout - heldout.mean(0)).square().sum()).item()
