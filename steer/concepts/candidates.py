"""Sets of features that may write about a concept, as interventions of a given size.

A feature counts if it fires more in texts about the concept than in neutral ones *and* than in
texts about other words, in at least half of the texts about it, and seldom elsewhere; and if that
is so in the held-out half as well. Features that are high in most other concepts are thereby out.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from dictionaries.dictionary import Dictionary
from steer.concepts.reading import Reading
from steer.edits import Add, Intervention
from steer.edits.schedules import Decay
from steer.interpretation.sides import CHANGES

COUNTS = (8, 20, 40)
"""Features of the sets by contrast."""
SPARSE = 16
"""Features of the sparse projection of the difference of means."""
WRITTEN = (32, 64)
"""Features of the sparse projections of the fitted direction, which takes more to be held."""
DENSEST_WRITTEN = 0.05
SINGLES = 1
DENSEST = 0.03
"""A feature active on a larger share of background tokens is about no concept."""
RAREST = 3e-4
"""Shares below this are not told apart by so few texts."""
ACTIVE_IN = 0.5
OTHERS_BELOW = 0.9
"""A feature fires more here than in this share of the other words' texts."""
POSITIONS = "1:"
"""Every token but the first, whose massive activation no edit of this size moves."""
FADES = Decay(12)
"""A text that has come to its subject stays there by itself: what is added later only costs."""


@dataclass(frozen=True)
class Candidate:
    """Features with weights in proportion, of which `direction` has length 1.

    weights: activations to add, so that what is written has length 1.
    """

    name: str
    features: tuple[int, ...]
    weights: tuple[float, ...]

    def edit(self, dictionary: str, length: float) -> Intervention:
        """Adds `length` along the direction at every token but the first, fading as it writes."""
        pairs = zip(self.features, self.weights, strict=True)
        adds = [Add(f, round(length * w, 4), positions=POSITIONS, schedule=FADES) for f, w in pairs]
        return Intervention(dictionary, adds)


@dataclass(frozen=True, eq=False)
class Background:
    """Readings of what the concept is not. others: of each other word's texts."""

    neutral: Reading
    others: tuple[Reading, ...]

    @property
    def share(self) -> Tensor:
        """Share [width] of background tokens that each feature is active at."""
        return torch.cat([self.neutral.share, *(other.share for other in self.others)]).mean(0)

    @property
    def means(self) -> Tensor:
        """Mean activations [1 + others, width]."""
        return torch.stack([reading.mean.mean(0) for reading in (self.neutral, *self.others)])


def contrast(fit: Reading, held_out: Reading, background: Background) -> Tensor:
    """How much more each feature fires about the concept [width]; -inf for those that don't count.

    The smaller of: more than in neutral texts, and more than in nine tenths of the other words'.
    """
    means, share = background.means, background.share
    level = torch.maximum(means[0], means[1:].quantile(OTHERS_BELOW, dim=0))
    counts = share < DENSEST
    for half in (fit, held_out):
        counts &= (half.share > 0).float().mean(0) >= ACTIVE_IN
        counts &= half.mean.mean(0) > level
    return torch.where(counts, fit.mean.mean(0) - level, -torch.inf)


def ranked(
    dictionary: Dictionary, fit: Reading, held_out: Reading, background: Background
) -> tuple[list[int], Tensor]:
    """The features that count, and the weight of all [width]: contrast times rarity, in nats.

    The rarer of two equal ones says more (Spärck Jones 1972). The first writes most.
    """
    rarity = -background.share.clamp(min=RAREST).log()
    scores = contrast(fit, held_out, background) * rarity
    strength = scores * dictionary.W_dec.float().cpu().norm(dim=1)
    return [int(f) for f in strength.argsort(descending=True) if strength[f] > 0], scores


def candidates(
    dictionary: Dictionary, fit: Reading, held_out: Reading, background: Background
) -> list[Candidate]:
    """The best single features, sets by contrast, and the sparse projection; [] if none counts."""
    order, scores = ranked(dictionary, fit, held_out, background)
    rows = dictionary.W_dec.float().cpu()
    made = [weighted("single", [f], scores[[f]], rows) for f in order[:SINGLES]]
    for count in COUNTS:
        chosen = order[:count]
        if len(chosen) >= 2 and len(chosen) != len(made[-1].features):
            made.append(weighted(f"contrast {len(chosen)}", chosen, scores[chosen], rows))
    if len(order) >= 2:
        made.append(_sparse("sparse", difference(fit, background), order, rows, SPARSE))
    return made


def written(
    dictionary: Dictionary, fit: Reading, background: Background, direction: Tensor
) -> list[Candidate]:
    """What the dictionary holds of a fitted direction [d], of features that fire more about it."""
    more = fit.mean.mean(0) > background.means.mean(0)
    pool = (more & (background.share < DENSEST_WRITTEN)).nonzero().flatten().tolist()
    rows = dictionary.W_dec.float().cpu()
    made = [_sparse("written", direction, pool, rows, n) for n in WRITTEN if pool]
    return [
        candidate
        for number, candidate in enumerate(made)
        if candidate.features not in [before.features for before in made[:number]]
    ]


def writers(dictionary: Dictionary, tokenizer: Any, word: str) -> list[Candidate]:
    """The single feature whose promoted tokens have the word and come up most when it is pushed.

    By its output score (Arad et al. 2025); none where no feature's is `CHANGES` or more.
    """
    known = dictionary.statistics
    if known is None or known.written is None:
        return []
    scores = known.written.clone()
    promoted = tokenizer.batch_decode([[token] for token in known.promoted.flatten().tolist()])
    names = [text.strip().lower() == word.lower() for text in promoted]
    scores[~torch.tensor(names).view_as(known.promoted).any(1)] = -torch.inf
    best = int(scores.argmax())
    if not scores[best] >= CHANGES:
        return []
    rows = dictionary.W_dec.float().cpu()
    return [weighted("single by output", [best], torch.ones(1), rows)]


def difference(fit: Reading, background: Background) -> Tensor:
    """Difference of means [d] of the residual: about the concept, minus neutral and other texts."""
    residuals = [reading.residual.mean(0) for reading in (background.neutral, *background.others)]
    return fit.residual.mean(0) - torch.stack(residuals).mean(0)


def weighted(name: str, features: list[int], weights: Tensor, rows: Tensor) -> Candidate:
    """Features with weights in proportion, scaled to write a length of 1. rows [width, d]."""
    scaled = weights / (weights @ rows[features]).norm()
    return Candidate(name, tuple(features), tuple(scaled.tolist()))


def _sparse(name: str, direction: Tensor, order: list[int], rows: Tensor, most: int) -> Candidate:
    """Non-negative matching pursuit of a direction on some features, at most `most` of them."""
    pool = torch.tensor(order)
    units = rows[pool] / rows[pool].norm(dim=1, keepdim=True)
    rest, weights = direction.clone(), torch.zeros(len(pool))
    for _ in range(4 * most):
        gains = units @ rest
        if (weights > 0).sum() >= most:
            gains = torch.where(weights > 0, gains, -torch.inf)
        best = int(gains.argmax())
        if gains[best] <= 1e-3 * direction.norm():
            break
        weights[best] += gains[best]
        rest -= gains[best] * units[best]
    if not bool((weights > 0).any()):
        weights[0] = 1.0
    used = weights.nonzero().flatten()
    chosen = pool[used].tolist()
    amounts = weights[used] / rows[pool[used]].norm(dim=1)
    return weighted(f"{name} {len(chosen)}", chosen, amounts, rows)


def matched_at_random(
    candidate: Candidate, dictionary: Dictionary, share: Tensor, seed: int
) -> Candidate:
    """Other features, each about as dense as the one in its place, with the same weights.

    share [width]: density. Drawn without repeats from the twenty nearest in log density.
    """
    generator = torch.Generator().manual_seed(seed)
    logs = share.clamp(min=1e-6).log()
    free = share > 0
    free[list(candidate.features)] = False
    drawn: list[int] = []
    for feature in candidate.features:
        distance = torch.where(free, (logs - logs[feature]).abs(), torch.inf)
        near = distance.argsort(stable=True)[:20]
        drawn.append(int(near[torch.randint(len(near), (1,), generator=generator)]))
        free[drawn[-1]] = False
    rows = dictionary.W_dec.float().cpu()
    weights = weighted("random", drawn, torch.tensor(candidate.weights), rows).weights
    return replace(candidate, name="random features", features=tuple(drawn), weights=weights)
