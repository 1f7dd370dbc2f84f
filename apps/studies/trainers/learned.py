"""`steer bench-training --part learned`: what trainers come to after as many samples.

Each trainer is trained to the end, alone, on the same activations in the same order, at its own
settings and at the same ones; a row is written as it is there. Seconds are the processor's.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor

from apps.studies.machine import machine, named
from apps.studies.trainers.bench import Activations, apart, chosen, fvu
from apps.studies.trainers.rates import OWN, settings
from apps.studies.trainers.size import Size, Trainer
from apps.studies.trainers.trainers import AUTOCAST, KINDS, OURS, OURS_BF16, Kind
from dictionaries.training.fast_dtype import fast_dtype
from steer.disk.ledger import Key, Ledger, Row
from steer.errors import SteerError
from steer.progress import Progress

REVISION = 1
"""Raised when the same size and activations come to give other dictionaries."""
JUDGED_ON = 16_384
ON_THE_WAY = 4_096
"""Held-out activations on which a dictionary is judged at the end, and before it."""


@dataclass(frozen=True)
class _Case:
    """One training. of: where the activations are from."""

    of: str
    kind: Kind
    rate: str | float
    size: Size

    @property
    def unit(self) -> Key:
        """What its row is known by: another machine's is another."""
        size = f"{self.size.samples} x {self.size.width}, k {self.size.k}, batch {self.size.batch}"
        seed, on = self.size.seed, named(machine())
        return (self.of, size, seed, self.kind.name, str(self.rate), on)


def learned(
    activations: Activations,
    size: Size,
    only: Sequence[str] = (),
    rates: Sequence[str | float] = (OWN,),
    file: Path | None = None,
    progress: Progress | None = None,
) -> list[Row]:
    """All rows asked for, of which those in `file` are not made again.

    Raises `SteerError` for fewer activations than samples, or a trainer there is not.
    """
    if len(activations.train) < size.samples:
        raise SteerError(
            f"{len(activations.train)} activations are fewer than {size.samples} samples, and "
            "each is seen once: give fewer samples, or more activations"
        )
    kinds = [kind for kind in _asked_for(only) if kind.missing is None]
    cases = [_Case(activations.of, kind, rate, size) for rate in rates for kind in kinds]
    ledger = Ledger(file, {"training": REVISION})
    units = ledger.read().units
    train = drawn(activations, size)
    rows = []
    for number, case in enumerate(cases):
        if case.unit not in units:
            if progress:
                progress(f"{case.kind.name}, {case.rate}", number, len(cases))
            units[case.unit] = [_trained(case, train, activations.heldout)]
            ledger.append(case.unit, units[case.unit])
        rows += units[case.unit]
    return rows


def drawn(activations: Activations, size: Size) -> Tensor:
    """The activations [samples, d] that every trainer sees, in one order."""
    order = torch.randperm(size.samples, generator=torch.Generator().manual_seed(size.seed))
    return activations.train[: size.samples][order]


def missing(only: Sequence[str] = ()) -> list[str]:
    """A line for each that is not installed."""
    return list(dict.fromkeys(kind.missing for kind in _asked_for(only) if kind.missing))


def lines(rows: Sequence[Row]) -> list[Row]:
    """A row a training, without what all have in common."""
    shown = ("trainer", "rate", "FVU", "L0", "never_active", "processor_seconds")
    return [{name: row[name] for name in shown} for row in rows]


def _asked_for(only: Sequence[str]) -> list[Kind]:
    """By default one a library: in bf16 where the processor multiplies that, else in fp32."""
    if only:
        return chosen(only)
    low, high = {OURS_BF16, AUTOCAST}, {OURS, AUTOCAST.partition(",")[0]}
    without = high if fast_dtype() == "bfloat16" else low
    return [kind for kind in KINDS if kind.name not in without]


def _trained(case: _Case, train: Tensor, heldout: Tensor) -> Row:
    size, kind = case.size, case.kind
    given = settings(kind.library, size, case.rate)
    return {
        "trainer": kind.name,
        "version": kind.version,
        "rate": case.rate,
        **to_the_end(lambda: kind.make(train, size, **given), size, heldout),
        "of": case.of,
        "size": asdict(size),
        "machine": machine(),
    }


def to_the_end(make: Callable[[], Trainer], size: Size, heldout: Tensor) -> Row:
    """A trainer, trained and judged: FVU, L0 and silent features, and the FVU on the way.

    curve: samples seen at the end of each round but the last, with the FVU there.
    """
    with apart():
        trainer = make()
    seconds, curve = 0.0, []
    for number in range(1, size.rounds + 1):
        with apart():
            begun = time.process_time()
            trainer.go_on(size.steps_a_round)
            seconds += time.process_time() - begun
        if number < size.rounds:
            so_far = round(fvu(trainer, heldout[:ON_THE_WAY]), 4)
            curve.append([number * size.samples // size.rounds, so_far])
    return {
        "FVU": round(fvu(trainer, heldout), 4),
        **_active(trainer, heldout),
        "processor_seconds": round(seconds / torch.get_num_threads(), 2),
        "curve": curve,
        "heldout": len(heldout),
    }


@torch.no_grad()
def _active(trainer: Trainer, heldout: Tensor) -> dict[str, float]:
    """L0, and the share of features that no held-out activation makes active."""
    times = sum((trainer.encode(part) != 0).sum(0) for part in heldout.split(2048))
    assert isinstance(times, Tensor)
    return {
        "L0": round(times.sum().item() / len(heldout), 2),
        "never_active": round((times == 0).double().mean().item(), 4),
    }
