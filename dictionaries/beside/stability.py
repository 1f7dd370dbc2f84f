"""How surely each feature comes back when its dictionary is trained again with another seed.

A feature that does not come back is a way of writing what the site does, not a thing that the model
has; often the subspace that it lies in does come back (Gerasimov et al. 2026). Kept beside the
dictionary, in some bytes a feature.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from dictionaries.errors import FormatError
from dictionaries.files.place import beside
from dictionaries.files.tensors import save_tensors

FILE = "stability.safetensors"
RETURNS = 0.7
"""Cosine of two decoder rows from which on they are one feature."""


@dataclass(frozen=True)
class Returning:
    """One feature's line of a `Stability`."""

    chance: float
    cosine: float
    share: float
    beside: tuple[int, ...]
    seeds: int
    samples: int
    own_samples: int | None

    @property
    def returns(self) -> bool:
        """Whether it is likelier to come back than not."""
        return self.chance >= 0.5

    def __str__(self) -> str:
        said = "comes back" if self.returns else "does not come back"
        return (
            f"{said} with another seed: chance {self.chance:.0%}, nearest row's cosine "
            f"{self.cosine:.2f}; {self.share:.0%} of it lies in a subspace that is there, with "
            f"{', '.join(map(str, self.beside))} ({self.seeds} seeds of {self.samples:,} samples"
            f"{self._shorter})"
        )

    @property
    def _shorter(self) -> str:
        """A short training leaves rows near where they began, and few of them alike."""
        if self.own_samples is None or self.samples >= self.own_samples:
            return ""
        return f", fewer than its own {self.own_samples:,}, so that this is too low"


@dataclass(frozen=True, eq=False)
class Stability:
    """Of m features, against dictionaries of other seeds.

    chance [m]: that a dictionary of one more seed has a row with a cosine of 0.7 or more.
    cosine [m]: of the nearest row, mean over the seeds.
    share [m]: of the row's squared length that lies in the span of the four nearest rows of another
        seed, mean over the seeds.
    beside [m, 3]: features of its own dictionary that lie most in those spans.
    seeds, samples: how many dictionaries, and on how many activations each was trained.
    own_samples: on how many the dictionary itself was; None if nobody said.
    """

    chance: Tensor
    cosine: Tensor
    share: Tensor
    beside: Tensor
    seeds: int
    samples: int
    own_samples: int | None = None

    def of(self, feature: int) -> Returning:
        """What is known of one feature."""
        return Returning(
            chance=self.chance[feature].item(),
            cosine=self.cosine[feature].item(),
            share=self.share[feature].item(),
            beside=tuple(self.beside[feature].tolist()),
            seeds=self.seeds,
            samples=self.samples,
            own_samples=self.own_samples,
        )

    def save(self, folder: Path) -> None:
        """Write `stability.safetensors` into the folder (or next to the file), 9 bytes each."""
        tensors = {
            name: (getattr(self, name) * 255).round().clamp(0, 255).to(torch.uint8)
            for name in ("chance", "cosine", "share")
        }
        tensors["beside"] = self.beside.to(torch.uint16).contiguous()
        told = {name: getattr(self, name) for name in ("seeds", "samples", "own_samples")}
        metadata = {"stability": json.dumps(told)}
        save_tensors(tensors, beside(folder, FILE), metadata)

    @classmethod
    def load(cls, folder: Path) -> Stability | None:
        """What `save` wrote, or None if there is none. Raises `FormatError` for a damaged file."""
        path = beside(folder, FILE)
        if not path.exists():
            return None
        try:
            with safe_open(path, "pt") as file:
                shares = {
                    name: file.get_tensor(name).float() / 255
                    for name in ("chance", "cosine", "share")
                }
                others = file.get_tensor("beside").long()
                told = json.loads(file.metadata()["stability"])
            return cls(**shares, beside=others, **told)
        except (SafetensorError, KeyError, ValueError, TypeError) as error:
            raise FormatError(
                f"{path} is damaged: {error}; delete it, or make it again: steer stability"
            ) from error
