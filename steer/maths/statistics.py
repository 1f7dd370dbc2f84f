"""Intervals and tests over prompts: what a mean over a few prompts is worth.

Every function takes values [..., n], one a prompt, and draws from its own seeded generator, so
that a figure does not depend on what was computed before it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import torch
from torch import Tensor


@dataclass(frozen=True)
class Interval:
    """A mean over n prompts with its confidence interval; NaN bounds where n is 1."""

    mean: float
    low: float
    high: float
    n: int
    level: float = 0.95

    def __str__(self) -> str:
        known = self.low == self.low and self.high == self.high
        return f"{self.mean:.3g}" + (f" [{self.low:.3g}, {self.high:.3g}]" if known else "")


def interval(
    values: Tensor, *, level: float = 0.95, resamples: int = 2000, seed: int = 0
) -> Interval:
    """Mean of values [n] with a bootstrap interval."""
    low, high = bootstrap(values, level=level, resamples=resamples, seed=seed)
    mean = values.double().mean().item()
    return Interval(mean, low.item(), high.item(), len(values), level)


def ratio_interval(
    above: Tensor, below: Tensor, *, level: float = 0.95, resamples: int = 2000, seed: int = 0
) -> Interval:
    """mean(above) / mean(below) of values [n] each, with a bootstrap interval over the n."""
    n, ratio = len(above), above.double().mean().item() / below.double().mean().item() + 0.0
    if n < 2:
        return Interval(ratio, math.nan, math.nan, n, level)
    drawn = torch.randint(n, (resamples, n), generator=torch.Generator().manual_seed(seed))
    ratios = (above.double()[drawn].mean(1) / below.double()[drawn].mean(1) + 0.0).sort().values
    tail = _expanded_tail((1 - level) / 2, n)
    low, high = _quantile(ratios, tail).item(), _quantile(ratios, 1 - tail).item()
    return Interval(ratio, low, high, n, level)


def bootstrap(
    values: Tensor, *, level: float = 0.95, resamples: int = 2000, seed: int = 0
) -> tuple[Tensor, Tensor]:
    """Bounds [...] of the mean of values [..., n], by the expanded percentile bootstrap.

    The plain percentile interval is too narrow for small n; its tail probability is widened so
    that it matches Student's t (Hesterberg 2015, What Teachers Should Know About the Bootstrap).
    """
    n = values.shape[-1]
    if n < 2:
        nothing = torch.full(values.shape[:-1], math.nan, dtype=torch.float64)
        return nothing, nothing
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randint(n, (resamples, n), generator=generator)
    weights = torch.zeros(resamples, n, dtype=torch.float64)
    weights.scatter_add_(1, drawn, torch.full_like(weights, 1 / n))
    means = (values.double().cpu() @ weights.T).sort(-1).values
    tail = _expanded_tail((1 - level) / 2, n)
    return _quantile(means, tail), _quantile(means, 1 - tail)


def _quantile(ordered: Tensor, share: float) -> Tensor:
    """Linear interpolation in the last dimension; torch.quantile refuses large tensors."""
    place = share * (ordered.shape[-1] - 1)
    below = min(int(place), ordered.shape[-1] - 2)
    return torch.lerp(ordered[..., below], ordered[..., below + 1], place - below)


def _expanded_tail(tail: float, n: int) -> float:
    t = student_quantile(1 - tail, n - 1)
    return NormalDist().cdf(-math.sqrt(n / (n - 1)) * t)


def student_quantile(share: float, freedom: int) -> float:
    """Quantile of Student's t with an integer number of degrees of freedom, by bisection."""
    low, high = -1e4, 1e4
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if _student_cdf(middle, freedom) < share else (low, middle)
    return (low + high) / 2


def _student_cdf(t: float, freedom: int) -> float:
    """Abramowitz & Stegun 26.7.3 and 26.7.4."""
    theta = math.atan2(t, math.sqrt(freedom))
    sine, cosine = math.sin(theta), math.cos(theta)
    odd = freedom % 2
    term, total = (cosine, 0.0) if odd else (1.0, 0.0)
    for k in range(2 + odd, freedom + 1, 2):
        total += term
        term *= cosine**2 * (k - 1) / k
    inside = 2 / math.pi * (theta + sine * total) if odd else sine * total
    return (1 + inside) / 2


def sign_flip(values: Tensor, *, flips: int = 10_000, seed: int = 0) -> Tensor:
    """Two-sided p-value [...] that the mean of values [..., n] is 0, by random sign flips.

    All 2ⁿ flips where they are fewer than `flips`; so p is at least 2/2ⁿ for few prompts. NaN where
    a value is.
    """
    n = values.shape[-1]
    if 2**n <= flips:
        patterns = torch.arange(2**n).unsqueeze(1) >> torch.arange(n) & 1
        signs, extra = patterns.double() * 2 - 1, 0
    else:
        generator = torch.Generator().manual_seed(seed)
        signs, extra = torch.randint(2, (flips, n), generator=generator).double() * 2 - 1, 1
    flat = values.double().cpu().reshape(-1, n)
    observed = flat.sum(1).abs()
    shares = [
        ((row @ signs.T).abs() >= o * (1 - 1e-12)).sum()
        for row, o in zip(flat, observed, strict=True)
    ]
    counts = torch.stack(shares).double() if shares else torch.zeros(0, dtype=torch.float64)
    p = (counts + extra) / (len(signs) + extra)
    return torch.where(observed.isnan(), torch.nan, p).reshape(values.shape[:-1])


def exceeds(effects: Tensor, controls: Tensor) -> Tensor:
    """One-sided p-values [m] that a feature's mean |effect| exceeds that of its controls.

    effects [m, n]; controls [m, n, draws], on n prompts. The differences |effect| − mean |control|
    are tested by sign flips over the prompts, so p is at least 1/2ⁿ: with fewer than about ten
    prompts nothing is left after correction for many features.
    """
    difference = effects.abs() - controls.abs().mean(-1)
    return torch.where(difference.mean(-1) <= 0, 1.0, sign_flip(difference) / 2)


def benjamini_hochberg(p: Tensor) -> Tensor:
    """q-values [m] of p-values [m]: rejecting q ≤ α keeps the false discovery rate at α.

    Benjamini & Hochberg 1995. A p of NaN stays one, and counts as 1 for the others.
    """
    m, known = len(p), p.nan_to_num(nan=1.0)
    order = known.argsort(descending=True)
    scaled = known[order] * m / torch.arange(m, 0, -1, dtype=p.dtype)
    q = torch.empty_like(p)
    q[order] = scaled.cummin(0).values.clamp(max=1)
    return torch.where(p.isnan(), p, q)
