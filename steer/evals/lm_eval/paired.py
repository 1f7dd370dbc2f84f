"""What an edit changes in a score, document by document.

Baseline and edit answer the same documents, so their difference is far less noisy than the
difference of two averages: the test is paired.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from steer.maths.statistics import bootstrap, sign_flip

_MOST_SIGNS = 20_000_000
"""Signs that a permutation test may draw: of many documents it takes fewer flips."""


@dataclass(frozen=True)
class Score:
    """Mean of a metric over n documents with its standard error, s/√n; NaN where n is 1."""

    mean: float
    stderr: float
    n: int

    @classmethod
    def of(cls, values: Tensor) -> Score:
        """Of values [n], one a document."""
        return cls(values.mean().item(), _stderr(values), len(values))

    def __str__(self) -> str:
        return f"{self.mean:.4g} ± {self.stderr:.2g}"


@dataclass(frozen=True)
class Difference:
    """An edit's score minus the baseline's.

    stderr: of the mean of the paired differences; low, high: its 95% bootstrap interval.
    p: two-sided, that the edit makes no difference. test: `mcnemar` (exact) for a metric that is
        right or wrong, else `sign flip` (a permutation test of the mean).
    q: p adjusted for all differences reported together (Benjamini & Hochberg 1995).
    gained, lost: documents whose value went up, and down.
    """

    task: str
    metric: str
    edit: str
    baseline: Score
    edited: Score
    difference: float
    stderr: float
    low: float
    high: float
    p: float
    test: str
    gained: int
    lost: int
    q: float = math.nan

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def compare(task: str, metric: str, edit: str, before: Tensor, after: Tensor) -> Difference:
    """The difference between values [n] of the same n documents."""
    before, after = before.double(), after.double()
    change = after - before
    low, high = bootstrap(change)
    gained, lost = int((change > 0).sum()), int((change < 0).sum())
    binary = bool(torch.isin(torch.cat([before, after]), torch.tensor([0.0, 1.0])).all())
    flips = max(100, min(10_000, _MOST_SIGNS // len(change)))
    p = mcnemar(gained, lost) if binary else sign_flip(change, flips=flips).item()
    return Difference(
        task=task,
        metric=metric,
        edit=edit,
        baseline=Score.of(before),
        edited=Score.of(after),
        difference=change.mean().item(),
        stderr=_stderr(change),
        low=low.item(),
        high=high.item(),
        p=p,
        test="mcnemar" if binary else "sign flip",
        gained=gained,
        lost=lost,
    )


def mcnemar(gained: int, lost: int) -> float:
    """Exact two-sided p-value of McNemar's test: under no effect the documents that changed went
    either way with probability ½ (McNemar 1947; the binomial form)."""
    n, fewer = gained + lost, min(gained, lost)
    tail = sum(math.comb(n, k) for k in range(fewer + 1)) / 2**n
    return min(1.0, 2 * tail)


def _stderr(values: Tensor) -> float:
    n = len(values)
    return values.std().item() / math.sqrt(n) if n > 1 else math.nan
