"""`python -m apps.studies.trainers.begun FOLDER ROWS`: why sparsify is ahead at first.

This package's trainer with the optimizer that sparsify has, with an encoder that begins as small as
its, and at other learning rates. FOLDER: harvested activations, as of `steer bench-training`; a row
a training is added to the file ROWS, and what is there is not trained again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import torch
import typer
from torch import Tensor

from apps.studies.machine import machine, named
from apps.studies.trainers.bench import Activations
from apps.studies.trainers.harvested import SITE, harvested
from apps.studies.trainers.learned import ON_THE_WAY, REVISION, drawn, to_the_end
from apps.studies.trainers.ours import Ours
from apps.studies.trainers.size import Size
from dictionaries.training.fast_dtype import fast_dtype
from steer.disk.ledger import Ledger, Row

SMALL = 0.577
"""Length of an encoder row that is drawn as in sparsify, evenly from ±1/√d; of ours, 1."""
SIGNS = 5e-3 / (6144 / 2**14) ** 0.5
"""sparsify's learning rate at this width."""


@dataclass(frozen=True)
class Variant:
    """optimizer: `adam`, `signs`, or `signs, averaged`, which is sparsify's: no schedule, and read
    with averaged weights. encoder: length of its rows at first."""

    optimizer: str
    rate: float
    encoder: float = 1.0


VARIANTS = (
    Variant("adam", 5e-4),  # as we train
    Variant("adam", 2e-3),
    Variant("adam", 8e-3),
    Variant("adam", 2e-3, SMALL),
    Variant("adam", 8e-3, SMALL),
    Variant("signs", SIGNS, SMALL),
    Variant("signs, averaged", SIGNS),
    Variant("signs, averaged", SIGNS, SMALL),
)


class Changed(Ours):
    """Our loss and gradients with another optimizer or encoder."""

    def __init__(self, activations: Tensor, size: Size, variant: Variant) -> None:
        super().__init__(activations, size, fast_dtype(), variant.rate)
        weights = self.state.weights
        with torch.no_grad():
            weights["W_enc"] *= variant.encoder
        if variant.optimizer != "adam":
            self.state.optimizer = _Signs(list(weights.values()), lr=variant.rate)
        if variant.optimizer == "signs, averaged":
            self.state.optimizer = _Averaged(self.state.optimizer)

    def reconstruct(self, x: Tensor) -> Tensor:
        with self._read():
            return super().reconstruct(x)

    def encode(self, x: Tensor) -> Tensor:
        with self._read():
            return super().encode(x)

    @contextmanager
    def _read(self) -> Iterator[None]:
        if isinstance(self.state.optimizer, _Averaged):
            with self.state.optimizer.averages():
                yield
        else:
            yield


class _Signs(torch.optim.Optimizer):
    """Each weight by its gradient's sign."""

    def __init__(self, weights: Sequence[Tensor], lr: float) -> None:
        super().__init__(weights, {"lr": lr})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    weight -= group["lr"] * weight.grad.sign()


class _Averaged(torch.optim.Optimizer):
    """Without a schedule, as sparsify wraps its own (Defazio et al. 2024)."""

    def __init__(self, inner: torch.optim.Optimizer) -> None:
        from schedulefree import ScheduleFreeWrapper

        self.wrapped = ScheduleFreeWrapper(inner, momentum=0.95)
        self.wrapped.train()
        self.param_groups = []  # of which a schedule would set the rate

    def zero_grad(self, set_to_none: bool = True) -> None:
        self.wrapped.zero_grad(set_to_none)

    def step(self, closure: None = None) -> None:  # type: ignore[override]
        self.wrapped.step()

    @contextmanager
    def averages(self) -> Iterator[None]:
        self.wrapped.eval()
        try:
            yield
        finally:
            self.wrapped.train()


def begun(
    activations: Activations, size: Size, file: Path | None, variants: Sequence[Variant] = VARIANTS
) -> list[Row]:
    """A row a variant, of which those in `file` are not made again."""
    ledger = Ledger(file, {"begun": REVISION})
    units, train = ledger.read().units, drawn(activations, size)
    rows = []
    for variant in variants:
        on = named(machine())
        seen = f"{size.samples} in {size.batch}"
        key = (activations.of, seen, variant.optimizer, f"{variant.rate:.2g}")
        unit = (*key, f"{variant.encoder:g}", on)
        if unit not in units:
            make = partial(Changed, train, size, variant)
            made = to_the_end(make, size, activations.heldout)
            about = {"of": activations.of, "size": asdict(size), "machine": machine()}
            units[unit] = [{**asdict(variant), **made, **about}]
            ledger.append(unit, units[unit])
        rows += units[unit]
    return rows


def main(
    folder: Path,
    rows: Path,
    site: str = SITE,
    samples: int = 24_576,
    batch: int = 2048,
    only: Annotated[list[int] | None, typer.Option(help="Variants, by their number.")] = None,
) -> None:
    """Train what is missing, and print a line each."""
    size = Size(batch=batch, samples=samples, rounds=4)
    activations = harvested(size, folder, site=site, heldout=ON_THE_WAY)
    chosen = [VARIANTS[number] for number in only] if only else VARIANTS
    for row in begun(activations, size, rows, chosen):
        named = f"{row['optimizer']}, {row['rate']:.2g}, encoder {row['encoder']:g}"
        typer.echo(f"{named}: FVU {row['FVU']}, never active {row['never_active']:.2%}")


if __name__ == "__main__":
    typer.run(main)
