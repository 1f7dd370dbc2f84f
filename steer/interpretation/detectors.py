"""How well simple, readable rules predict where a feature is active: no judge is needed.

For each feature the best detector of every view is found on one part of the text and measured on
another. Taking groups in the order of their precision and stopping where F1 is highest is optimal
for a set of groups of any size; the limit of the view is kept by starting from the groups with
most hits. (Cunningham et al. 2023, section 4, describe features by such token classes; they
measure precision and recall of a regular expression for one.)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from steer.interpretation.views import VIEWS, Grouping, View, positions

SHOWN = 4
"""Groups that a rule's text names, those with most hits; the rest are counted."""


@dataclass(frozen=True, eq=False)
class Activity:
    """Where features are active, as pairs sorted by feature.

    feature, position, value [p]: a feature, a flat position of the text, its activation there.
    features: how many there are; fit, heldout [n]: which positions choose and which judge.
    """

    feature: Tensor
    position: Tensor
    value: Tensor
    features: int
    fit: Tensor
    heldout: Tensor

    @property
    def density(self) -> Tensor:
        """Share of the judging positions where each feature is active, [features]."""
        inside = self.heldout[self.position]
        return _counts(self.feature[inside], self.features) / self.heldout.sum()

    def of_features(self, features: range) -> Activity:
        """Only these features, numbered from 0."""
        inside = (self.feature >= features.start) & (self.feature < features.stop)
        return replace(
            self,
            feature=self.feature[inside] - features.start,
            position=self.position[inside],
            value=self.value[inside],
            features=len(features),
        )

    def strongest(self, share: float) -> Activity:
        """Only each feature's `share` strongest activations count as active."""
        order = _order(self.feature, -self.value)
        feature = self.feature[order].long()
        strong = order[_rank(feature) < share * _counts(feature, self.features)[feature]]
        return replace(
            self,
            feature=self.feature[strong],
            position=self.position[strong],
            value=self.value[strong],
        )


@dataclass(frozen=True)
class Detector:
    """A rule for one feature, with its figures on held-out text.

    chance: F1 of the rule "always"; support: held-out positions where the feature is active.
    entropy: of the token at active positions, in nats; 0 is a feature of one token.
    """

    feature: int
    text: str
    view: str
    precision: float
    recall: float
    f1: float
    chance: float
    support: int
    entropy: float


def detect(
    activity: Activity,
    tokens: Tensor,
    partitions: dict[str, Grouping],
    views: Sequence[View] = VIEWS,
    progress: Callable[[int, int], None] | None = None,
) -> list[Detector]:
    """The best detector of each feature that is active in both parts; tokens [contexts, length]."""
    best = torch.zeros(activity.features, dtype=torch.float64)
    chosen: dict[int, tuple[View, str, int, int]] = {}
    for number, view in enumerate(views):
        ids, name = positions(view, tokens, partitions)
        fitted = _fit(activity, ids.flatten(), view.limit)
        better = (fitted.f1 > best + 1e-9).nonzero().flatten()
        best = torch.maximum(best, fitted.f1)
        hits, predicted = _judge(activity, ids.flatten(), fitted)
        for feature in better.tolist():
            text = view.phrase.format(_listed([name(g) for g in fitted.groups(feature)]))
            chosen[feature] = (view, text, int(hits[feature]), int(predicted[feature]))
        if progress:
            progress(number + 1, len(views))
    return _detectors(activity, chosen, token_entropy(activity, tokens))


def token_entropy(activity: Activity, tokens: Tensor) -> Tensor:
    """Entropy [features], in nats, of the token where a feature is active, over all positions."""
    size = int(tokens.max()) + 1
    keys = activity.feature.long() * size + tokens.flatten().long()[activity.position]
    present, counts = keys.unique(return_counts=True)
    share = counts / _counts(activity.feature, activity.features)[present // size]
    terms = -(share * share.log())
    zero = torch.zeros(activity.features, dtype=torch.float64)
    return zero.index_add_(0, present // size, terms.double())


@dataclass(frozen=True, eq=False)
class _Sets:
    """Each feature's groups: `keys` [q] are feature · count + group, sorted; f1 [features].

    hits [q]: active positions in each.
    """

    keys: Tensor
    hits: Tensor
    count: int
    f1: Tensor

    def groups(self, feature: int) -> list[int]:
        bounds = torch.tensor([feature, feature + 1]) * self.count
        low, high = torch.searchsorted(self.keys, bounds).tolist()
        most = self.hits[low:high].argsort(descending=True, stable=True)
        return (self.keys[low:high] % self.count)[most].tolist()


def _fit(activity: Activity, ids: Tensor, limit: int) -> _Sets:
    """The set of at most `limit` groups with the highest F1 on the positions that choose."""
    count, m = max(1, int(ids.max()) + 1), activity.features
    inside = activity.fit[activity.position]
    feature, group = activity.feature[inside].long(), ids[activity.position[inside]]
    active = _counts(feature, m)
    seen = group >= 0
    keys, hits = (feature[seen] * count + group[seen]).unique(return_counts=True)
    totals = _counts(ids[activity.fit & (ids >= 0)], count)
    if not len(keys):
        return _Sets(keys, hits, count, torch.zeros(m, dtype=torch.float64))
    most = _order(keys // count, -hits.double())
    most = most[_rank(keys[most] // count) < limit]
    keys, hits = keys[most], hits[most]
    precise = _order(keys // count, -hits.double() / totals[keys % count])
    keys, hits = keys[precise], hits[precise].double()
    owner = keys // count
    rank = _rank(owner)
    f1 = 2 * _running(hits, owner) / (active[owner] + _running(totals[keys % count], owner))
    best = torch.zeros(m, dtype=torch.float64).scatter_reduce(0, owner, f1, "amax")
    # The first place where the best is reached; the set is what comes up to there.
    reached = torch.where(f1 == best[owner], rank, len(keys))
    stop = torch.full((m,), len(keys)).scatter_reduce(0, owner, reached, "amin")
    within = rank <= stop[owner]
    chosen, order = keys[within].sort()
    return _Sets(chosen, hits[within][order], count, best)


def _judge(activity: Activity, ids: Tensor, sets: _Sets) -> tuple[Tensor, Tensor]:
    """Hits and predicted positions of each feature's set on the positions that judge."""
    inside = activity.heldout[activity.position]
    feature, group = activity.feature[inside].long(), ids[activity.position[inside]]
    keys = feature * sets.count + group
    caught = (group >= 0) & torch.isin(keys, sets.keys)
    totals = _counts(ids[activity.heldout & (ids >= 0)], sets.count)
    predicted = torch.zeros(activity.features, dtype=torch.float64)
    predicted.index_add_(0, sets.keys // sets.count, totals[sets.keys % sets.count])
    return _counts(feature[caught], activity.features), predicted


def _listed(names: Sequence[str]) -> str:
    shown = [*names[:SHOWN], f"{len(names) - SHOWN} more"] if len(names) > SHOWN + 1 else names
    return " or ".join(shown)


def _detectors(
    activity: Activity, chosen: dict[int, tuple[View, str, int, int]], entropy: Tensor
) -> list[Detector]:
    inside = activity.heldout[activity.position]
    support = _counts(activity.feature[inside], activity.features).long().tolist()
    density = activity.density.tolist()
    detectors = []
    for feature, (view, text, hits, predicted) in sorted(chosen.items()):
        if not support[feature]:
            continue
        p, r = hits / predicted if predicted else 0.0, hits / support[feature]
        detectors.append(
            Detector(
                feature=feature,
                text=text,
                view=view.name,
                precision=p,
                recall=r,
                f1=2 * p * r / (p + r) if hits else 0.0,
                chance=2 * density[feature] / (1 + density[feature]),
                support=support[feature],
                entropy=float(entropy[feature]),
            )
        )
    return detectors


def _counts(values: Tensor, size: int) -> Tensor:
    return torch.bincount(values.long(), minlength=size).double()


def _order(owner: Tensor, value: Tensor) -> Tensor:
    """Indices that sort by owner, then by value."""
    first = value.argsort(stable=True)
    return first[owner[first].argsort(stable=True)]


def _rank(owner: Tensor) -> Tensor:
    """Place of each entry among those of its owner; `owner` is sorted."""
    return torch.arange(len(owner)) - torch.searchsorted(owner, owner)


def _running(values: Tensor, owner: Tensor) -> Tensor:
    """Cumulative sums that begin anew with every owner; `owner` is sorted."""
    total = values.double().cumsum(0)
    first = torch.searchsorted(owner, owner)
    return total - total[first] + values[first]
