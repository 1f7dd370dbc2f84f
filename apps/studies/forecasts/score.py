"""Forecasts against what is exact, on features and texts that nothing was fitted on.

All is computed from kept changes of the normed final residual h, of which logits are W_U h.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from apps.studies.forecasts.drawn import SHARES
from apps.studies.forecasts.exact import Exact
from dictionaries.beside.forecast import Bounds
from steer.maths.statistics import interval
from steer.runs.forecast import GROWTH, MAPPED, SAFE, TOP

TAIL = 0.05
"""Left out on each side: intervals are to hold nine times in ten."""


@dataclass(frozen=True, eq=False)
class World:
    """What scores are computed with.

    unembedding [V, d]; matrix [d, d] and length: of the map; median: norm of the stream;
    neutral, exact: of the features units [n, d] on the neutral sentence and on the texts.
    """

    unembedding: Tensor
    gain: Tensor
    matrix: Tensor
    length: float
    median: float
    units: Tensor
    neutral: Exact
    exact: Exact

    def pushed(self, share: int) -> Tensor:
        """The pushes [n, d] of one length, in multiples of the fitted one."""
        return self.units * (SHARES[share] * self.median / self.length)

    def changes(self, share: int) -> dict[str, Tensor]:
        """Forecasts of the mean change of h, [n, d], by how they are made."""
        through = self.pushed(share) @ self.matrix
        text = self.neutral.changes[share, 0].float()
        return {
            "unembedding": self.units * self.gain,
            "average map": through,
            "neutral text": text,
            "both": MAPPED * through + (1 - MAPPED) * text,
        }


def top(changes: Tensor, unembedding: Tensor, k: int = TOP) -> Tensor:
    """The k tokens whose logits rise most, [n, k]."""
    return torch.cat([(part @ unembedding.T).topk(k).indices for part in changes.split(64)])


def overlap(ones: Tensor, others: Tensor) -> Tensor:
    """Share of tokens in both lists [n, k], [n]."""
    return (ones.unsqueeze(-1) == others.unsqueeze(-2)).any(-1).double().mean(-1)


def overlaps(world: World, share: int) -> dict[str, dict[str, Any]]:
    """Of each kind of forecast: with the mean over the texts, and with each text alone."""
    exact = world.exact.changes[share].float()
    mean = top(exact.mean(0), world.unembedding)
    alone = [top(text, world.unembedding) for text in exact]
    found = {}
    for name, changes in world.changes(share).items():
        said = top(changes, world.unembedding)
        each = torch.stack([overlap(said, text) for text in alone]).mean(0)
        found[name] = {"mean": _told(overlap(said, mean)), "each": _told(each)}
    halves = [top(exact[part].mean(0), world.unembedding) for part in (slice(0, 4), slice(4, 8))]
    found["exact on four texts, of the other four"] = {"mean": _told(overlap(*halves))}
    return found


def _told(values: Tensor) -> list[float]:
    found = interval(values)
    return [round(found.mean, 4), round(found.low, 4), round(found.high, 4)]


def off(world: World) -> dict[str, Tensor]:
    """How far each forecast was off, all features, lengths (and texts) in one row.

    Logarithms of truth over forecast; of `logit` the quotient itself.
    """
    kl = world.neutral.kl[:, 0]
    exact = world.exact.kl
    spread = exact.log().std(1) / world.neutral.spread[:, 0].clamp(min=1e-6)
    logits = [_logit_ratio(world, share) for share in range(len(SHARES))]
    return {
        "kl": (exact.mean(1) / kl).log(),
        "one_text": (exact / kl.unsqueeze(1)).log(),
        "spread": spread.clamp(min=1e-6).log(),
        "safe": _safe_off(kl, exact.mean(1)),
        "logit": torch.stack(logits),
    }


def _logit_ratio(world: World, share: int) -> Tensor:
    """True mean rise over the forecast one, of the ten forecast tokens, [n, 10]."""
    said = world.changes(share)["both"]
    tokens = top(said, world.unembedding)
    rows = world.unembedding[tokens]
    true = world.exact.changes[share].float().mean(0)
    return (rows @ true.unsqueeze(-1) / (rows @ said.unsqueeze(-1)).clamp(min=1e-3)).squeeze(-1)


def _safe_off(kl: Tensor, exact: Tensor) -> Tensor:
    """log of the true safe length over the forecast one, [l, n]; NaN where no length reached it.

    The true one is where the mean KL over the texts crosses `SAFE`, between the measured lengths.
    """
    lengths = torch.tensor(SHARES).log().unsqueeze(1)
    said = lengths - (kl / SAFE).log() / GROWTH
    values = (exact / SAFE).log()
    true = torch.full(values.shape[1:], torch.nan)
    for low in range(len(SHARES) - 1):
        inside = (values[low] <= 0) & (values[low + 1] > 0)
        step = (0 - values[low]) / (values[low + 1] - values[low])
        at = lengths[low] + step * (lengths[low + 1] - lengths[low])
        true = torch.where(inside, at, true)
    return true.unsqueeze(0) - said


def bounds(values: Tensor) -> Bounds:
    """The 5% and 95% quantiles, widened as split conformal prediction asks."""
    kept = values[values.isfinite()].double().flatten()
    n = len(kept)
    low = kept.kthvalue(max(1, int(TAIL * (n + 1)))).values.item()
    high = kept.kthvalue(min(n, n + 1 - int(TAIL * (n + 1)))).values.item()
    return low, high


def coverage(values: Tensor, within: Bounds) -> list[float]:
    """Share of values within bounds, with an interval over features (the last-but-text axis)."""
    held = ((values >= within[0]) & (values <= within[1])).double()
    held = torch.where(values.isfinite(), held, torch.nan)
    by_feature = held.nanmean(0) if held.dim() == 2 else _by_feature(held)
    return _told(by_feature[by_feature.isfinite()])


def _by_feature(held: Tensor) -> Tensor:
    """[l, t, n] or [l, n, k] -> [n]: features are the longest axis."""
    axis = max(range(held.dim()), key=lambda number: held.shape[number])
    return held.nanmean([number for number in range(held.dim()) if number != axis])


def widths(calibrated: Mapping[str, Tensor]) -> dict[str, Bounds]:
    """Bounds of each forecast, from the calibration features."""
    return {name: bounds(values) for name, values in calibrated.items()}
