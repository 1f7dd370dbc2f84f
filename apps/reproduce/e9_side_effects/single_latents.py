"""The first half of E9: one feature ablated at one token, and what its KL depends on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import torch
from torch import Tensor

from dictionaries.dictionary import Dictionary
from steer.edits import Ablate
from steer.effects.passes.changes import encode_clean, read_changes
from steer.effects.passes.clean import Clean, run_clean
from steer.maths import metrics
from steer.model import Model

LEAST_POSITIONS = 5
_SMALLEST = 1e-12
"""Nats; fp32 logits give no smaller KL that means anything, even where it is summed in fp64."""


@dataclass(frozen=True)
class Ablated:
    """One feature ablated at the last token of one passage: KL(clean‖edited) there, and ‖Δx‖."""

    dictionary: str
    position: int
    feature: int
    kl: float
    norm: float


def ablate_each(
    model: Model, passages: Sequence[str], dictionaries: Sequence[Dictionary]
) -> list[Ablated]:
    """Every active feature of every dictionary alone, at the last token of each passage."""
    ablated: list[Ablated] = []
    for number, passage in enumerate(passages):
        ids, _ = model.tokenize([passage])
        site = model.site(model.site_of(dictionaries[0]))
        clean = run_clean(model, ids[0], site, every=False)
        for dictionary in dictionaries:
            ablated += _at(clean, dictionary, number)
    return ablated


def _at(clean: Clean, dictionary: Dictionary, number: int) -> list[Ablated]:
    active = encode_clean(clean, dictionary)[-1].nonzero().flatten().tolist()
    if not active:
        return []
    edits = [Ablate(feature, positions="last") for feature in active]
    changes = read_changes(clean, dictionary, edits)
    delta = changes.delta([(i,) for i in range(len(edits))], clean.x.dtype)
    edited = clean.resume(delta)
    kl = metrics.kl(clean.logits[-1], edited.logits[:, -1]).tolist()
    norms = delta[:, -1].double().norm(dim=-1).tolist()
    named = zip(active, kl, norms, strict=True)
    return [Ablated(dictionary.name, number, feature, k, n) for feature, k, n in named]


@dataclass(frozen=True)
class Share:
    """A variance share with its jackknife interval over positions."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.2f} [{self.low:.2f}, {self.high:.2f}]"


def often(ablated: Sequence[Ablated], least: int = LEAST_POSITIONS) -> list[Ablated]:
    """Those of features that were ablated at `least` positions or more."""
    counts: dict[int, int] = {}
    for row in ablated:
        counts[row.feature] = counts.get(row.feature, 0) + 1
    return [row for row in ablated if counts[row.feature] >= least]


def variance_shares(
    ablated: Sequence[Ablated], measure: Callable[[Ablated], float], level: float = 0.95
) -> tuple[Share, Share]:
    """Shares of the variance of log₁₀(measure) that the position and the feature explain.

    Two crossed random effects, unbalanced: the covariance of two ablations at one position is the
    position's variance, and that of two of one feature the feature's (method of moments). The
    intervals are from leaving out each position in turn.
    """
    values = torch.tensor([max(measure(row), _SMALLEST) for row in ablated]).double().log10()
    positions = _codes([row.position for row in ablated])
    features = _codes([row.feature for row in ablated])
    whole = torch.stack(_shares(values, positions, features))
    count = int(positions.max()) + 1
    partial = []
    for left_out in range(count):
        remaining = positions != left_out
        partial.append(
            torch.stack(_shares(values[remaining], positions[remaining], features[remaining]))
        )
    spread = torch.stack(partial)
    error = ((spread - spread.mean(0)).square().sum(0) * (count - 1) / count).sqrt()
    reach = NormalDist().inv_cdf((1 + level) / 2) * error
    position, feature = (
        Share(value.item(), (value - far).item(), (value + far).item())
        for value, far in zip(whole, reach, strict=True)
    )
    return position, feature


def _codes(ids: Sequence[int]) -> Tensor:
    return torch.tensor(list(ids)).unique(return_inverse=True)[1]


def _shares(values: Tensor, positions: Tensor, features: Tensor) -> tuple[Tensor, Tensor]:
    centred = values - values.mean()
    total = centred.square().mean()
    return _within(centred, positions) / total, _within(centred, features) / total


def _within(centred: Tensor, group: Tensor) -> Tensor:
    """Mean product of two different values of one group."""
    size = int(group.max()) + 1
    sums = torch.zeros(size, dtype=torch.float64).index_add_(0, group, centred)
    squares = torch.zeros_like(sums).index_add_(0, group, centred.square())
    counts = torch.zeros_like(sums).index_add_(0, group, torch.ones_like(centred))
    pairs = (counts.square() - counts).sum()
    return (sums.square() - squares).sum() / pairs.clamp(min=1)


def by_position(
    ablated: Sequence[Ablated], measure: Callable[[Ablated], float], dictionary: str
) -> dict[int, float]:
    """Mean of the measure over the features of a dictionary that are active at each position."""
    at: dict[int, list[float]] = {}
    for row in ablated:
        if row.dictionary == dictionary:
            at.setdefault(row.position, []).append(measure(row))
    return {position: sum(values) / len(values) for position, values in at.items()}
