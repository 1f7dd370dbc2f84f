"""What every trainer is given, and what it has to be able to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from steer.errors import SteerError

SEQUENCE = 256
"""Activations in a row of what sparsify reads, which counts its batches in sequences."""


@dataclass(frozen=True)
class Size:
    """width, k: of the dictionary. batch: activations a step. samples: in all, each seen once.

    rounds: into how many turns these are cut. learning_rate: of every trainer that uses Adam.
    """

    width: int = 6144
    k: int = 32
    batch: int = 2048
    samples: int = 98_304
    rounds: int = 8
    learning_rate: float = 5e-4
    seed: int = 0

    def __post_init__(self) -> None:
        if self.batch < SEQUENCE or self.batch % SEQUENCE:
            raise SteerError(
                f"batch must be a multiple of {SEQUENCE}, not {self.batch}: sparsify reads "
                "activations in sequences of that length"
            )
        if not 0 < self.k <= self.width:
            raise SteerError(f"k must be from 1 to width {self.width}, not {self.k}")
        turn = self.batch * self.rounds
        if self.samples < turn or self.samples % turn:
            raise SteerError(
                f"samples must be a multiple of batch x rounds, {turn}, not {self.samples}: "
                "every round has as many whole steps"
            )

    @property
    def steps(self) -> int:
        return self.samples // self.batch

    @property
    def steps_a_round(self) -> int:
        return self.steps // self.rounds


class Trainer(Protocol):
    """A training that goes on a few steps at a time."""

    def go_on(self, steps: int) -> None:
        """The next steps, each of the next batch."""

    def reconstruct(self, x: Tensor) -> Tensor:
        """What the dictionary, as it is now, makes of activations [n, d]."""

    def encode(self, x: Tensor) -> Tensor:
        """Its features' activations [n, width]."""
