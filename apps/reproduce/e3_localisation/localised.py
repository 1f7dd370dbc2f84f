"""What E3 finds of each dictionary: its curves, and what an exact search says of them."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from steer.effects.patching.curve import Curve


@dataclass(frozen=True)
class Localised:
    """One dictionary's curve. kl, norm [points][n]; endpoint_gap in nats."""

    dictionary: str
    ranking: str
    counts: list[int]
    kl: list[list[float]]
    norm: list[list[float]]
    differing: float
    endpoint_gap: float

    @property
    def curve(self) -> Curve:
        kl, norm = torch.tensor(self.kl).double(), torch.tensor(self.norm).double()
        return Curve(tuple(self.counts), kl, norm, self.dictionary, self.ranking, "kl", "keep")

    @property
    def floor(self) -> torch.Tensor:
        """KL with all features patched, [n]: what the error holds back."""
        return torch.tensor(self.kl[-1]).double()


@dataclass(frozen=True)
class Checked:
    """ACDC's set at a threshold, and the ranking's set of the same size, on the same pairs.

    kl, ranked_kl: mean KL(edited‖target) at each threshold; shared: share of nodes in both.
    """

    dictionary: str
    taus: list[float]
    counts: list[int]
    kl: list[float]
    ranked_kl: list[float]
    shared: list[float]
    measured: int
