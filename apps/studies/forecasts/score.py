"""Forecasts against what is exact, on features and texts that nothing was fitted on.

All is computed from kept changes of the normed final residual h, of which logits are W_U h.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from apps.studies.forecasts.drawn import CONTEXTS
from apps.studies.forecasts.exact import Exact
from dictionaries.beside.forecast import Bounds
from steer.maths.statistics import interval
from steer.runs.forecast import GROWTH, MAPPED, SAFE, TOP

SETS = 50
"""Sets of texts that intervals are drawn from."""
AXES = {"logit": -2}
"""Where features are in what `off` gives, if not last."""
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
        return self.units * (float(self.exact.shares[share]) * self.median / self.length)

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
    figures = {}
    for name, changes in world.changes(share).items():
        said = top(changes, world.unembedding)
        mean_overlap = torch.stack([overlap(said, text) for text in alone]).mean(0)
        figures[name] = {"mean": _told(overlap(said, mean)), "each": _told(mean_overlap)}
    halves = [top(exact[part].mean(0), world.unembedding) for part in (slice(0, 4), slice(4, 8))]
    figures["exact on four texts, of the other four"] = {"mean": _told(overlap(*halves))}
    return figures


def _told(values: Tensor) -> list[float]:
    average = interval(values)
    return [round(average.mean, 4), round(average.low, 4), round(average.high, 4)]


def off(world: World, sets: Sequence[Sequence[int]]) -> dict[str, Tensor]:
    """How far each forecast was off, over lengths, features and sets of texts.

    Features are the last axis, and of `logit` the last but one: see `AXES`.
    Logarithms of truth over forecast; of `logit` the quotient itself. Truth is a mean over a set
    of texts, but of `one_text`, which is of every text, and `spread`, of each eight.
    """
    kl, exact = world.neutral.kl[:, 0], world.exact.kl
    means = torch.stack([exact[:, list(texts)].mean(1) for texts in sets])
    safe = [_safe_off(kl, mean, world.exact.shares) for mean in means]
    groups = torch.stack([part.log().std(1) for part in exact.split(CONTEXTS, dim=1)])
    spread = groups / world.neutral.spread[:, 0].clamp(min=1e-6)
    return {
        "kl": (means / kl).log(),
        "one_text": (exact / kl.unsqueeze(1)).log(),
        "spread": spread.clamp(min=1e-6).log(),
        "safe": torch.stack(safe),
        "logit": torch.stack([_logit_ratios(world, share, sets) for share in range(len(exact))]),
    }


def other_texts(known: int, new: int, seed: int = 0) -> list[list[int]]:
    """Sets of texts that stand for so many that were not read.

    The mean over new texts differs from that over the known ones by a draw of each: as many texts,
    drawn with replacement, as make up for both. Features share their texts, so that more features
    say nothing of other texts.
    """
    generator = torch.Generator().manual_seed(seed)
    count = max(1, round(1 / (1 / known + 1 / new)))
    drawn = torch.randint(known, (SETS, count), generator=generator)
    return [row.tolist() for row in drawn]


def _logit_ratios(world: World, share: int, sets: Sequence[Sequence[int]]) -> Tensor:
    """True mean rise over the forecast one, of the ten forecast tokens, [sets, n, 10]."""
    said = world.changes(share)["both"]
    rows = world.unembedding[top(said, world.unembedding)]
    told = (rows @ said.unsqueeze(-1)).clamp(min=1e-3)
    exact = world.exact.changes[share].float()
    means = [exact[list(texts)].mean(0).unsqueeze(-1) for texts in sets]
    return torch.stack([(rows @ mean / told).squeeze(-1) for mean in means])


def _safe_off(kl: Tensor, exact: Tensor, shares: Tensor) -> Tensor:
    """log of the true safe length over the forecast one, [l, n]; NaN where no length reached it.

    The true one is where the mean KL over the texts crosses `SAFE`, between the measured lengths.
    """
    lengths = shares.log().unsqueeze(1)
    said = lengths - (kl / SAFE).log() / GROWTH
    values = (exact / SAFE).log()
    true = torch.full(values.shape[1:], torch.nan)
    for low in range(len(shares) - 1):
        inside = (values[low] <= 0) & (values[low + 1] > 0)
        step = (0 - values[low]) / (values[low + 1] - values[low])
        at = lengths[low] + step * (lengths[low + 1] - lengths[low])
        true = torch.where(inside, at, true)
    return true.unsqueeze(0) - said


def bounds(values: Tensor) -> Bounds:
    """The 5% and 95% quantiles, widened as split conformal prediction asks."""
    finite = values[values.isfinite()].double().flatten()
    n = len(finite)
    low = finite.kthvalue(max(1, int(TAIL * (n + 1)))).values.item()
    high = finite.kthvalue(min(n, n + 1 - int(TAIL * (n + 1)))).values.item()
    return low, high


def coverage(values: Tensor, within: Bounds, axis: int = -1) -> list[float]:
    """Share of values within bounds, with an interval over the features, which are one axis."""
    held = ((values >= within[0]) & (values <= within[1])).double()
    held = torch.where(values.isfinite(), held, torch.nan)
    shares = held.movedim(axis, 0).reshape(held.shape[axis], -1).nanmean(1)
    return _told(shares[shares.isfinite()])


def widths(calibrated: Mapping[str, Tensor]) -> dict[str, Bounds]:
    """Bounds of each forecast, from the calibration features; of those that could be measured."""
    known = {name: values for name, values in calibrated.items() if values.isfinite().any()}
    return {name: bounds(values) for name, values in known.items()}
