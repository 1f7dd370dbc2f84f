"""Per-feature statistics over a corpus, by streaming over harvested activations."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from dictionaries.beside.statistics import QUANTILES, TOP, WINDOW, FeatureStatistics
from dictionaries.dictionary import Dictionary

_QUANTILE_STRIDE = 8
_FLOATS = 2**26
"""Most features at once, so that a wide dictionary does not take all memory."""


@dataclass(frozen=True, eq=False)
class Corpus:
    """What statistics are taken over; n contexts of `length` tokens.

    activations [n, length, d]; tokens, keep [n, length]: ids, and which positions count;
    shippable [n]: contexts whose text may be shown in a card.
    """

    activations: Tensor
    tokens: Tensor
    keep: Tensor
    shippable: Tensor

    def batches(self, size: int = 16) -> Iterator[slice]:
        for start in range(0, len(self.tokens), size):
            yield slice(start, start + size)


@torch.inference_mode()
def collect_statistics(
    dictionary: Dictionary, corpus: Corpus, progress: Callable[[int, int], None] | None = None
) -> FeatureStatistics:
    """One pass over the corpus, then a second look at each feature's strongest contexts."""
    m = dictionary.width
    count, total, maximum = torch.zeros(m), torch.zeros(m), torch.zeros(m)
    best = torch.zeros(TOP, m)
    where = torch.full((TOP, m), -1, dtype=torch.long)
    pairs: list[tuple[Tensor, Tensor]] = []
    for rows in corpus.batches(max(1, min(16, _FLOATS // (corpus.tokens.shape[1] * m)))):
        features = dictionary.encode_texts(corpus.activations[rows].float())[0]
        features *= corpus.keep[rows].unsqueeze(-1)
        flat = features.flatten(0, 1)
        count += (flat > 0).sum(0)
        total += flat.sum(0)
        maximum = torch.maximum(maximum, flat.amax(0))
        sampled = flat[::_QUANTILE_STRIDE]
        index = sampled.nonzero(as_tuple=True)
        pairs.append((index[1].int(), sampled[index]))
        best, where = _merge(best, where, features * corpus.shippable[rows, None, None], rows.start)
        if progress:
            progress(min(rows.stop, len(corpus.tokens)), len(corpus.tokens))
    contexts, activations = _windows(dictionary, corpus, best, where)
    empty = torch.zeros(m, 0)
    return FeatureStatistics(
        density=count / corpus.keep.sum(),
        maximum=maximum,
        mean=total / count.clamp(min=1),
        quantiles=_quantiles(torch.cat([p[0] for p in pairs]), torch.cat([p[1] for p in pairs]), m),
        contexts=contexts,
        context_activations=activations,
        promoted=empty.long(),
        promoted_logits=empty,
        suppressed=empty.long(),
        suppressed_logits=empty,
        tokens=int(corpus.keep.sum()),
    )


def with_tokens(
    statistics: FeatureStatistics, promoted: Tensor, suppressed: Tensor, up: Tensor, down: Tensor
) -> FeatureStatistics:
    """The same statistics with the tokens that each decoder row moves most, [m, 10] each."""
    return replace(
        statistics,
        promoted=promoted,
        suppressed=suppressed,
        promoted_logits=up,
        suppressed_logits=down,
    )


def _merge(best: Tensor, where: Tensor, features: Tensor, start: int) -> tuple[Tensor, Tensor]:
    """Running ten strongest [10, m], at most one a context, from features [n, length, m]."""
    length = features.shape[1]
    values, position = features.max(dim=1)
    flat = (start + torch.arange(len(features))).unsqueeze(1) * length + position
    pooled = torch.cat([best, values])
    kept, index = pooled.topk(TOP, dim=0)
    return kept, torch.cat([where, flat]).gather(0, index)


def _quantiles(feature: Tensor, value: Tensor, m: int) -> Tensor:
    """Percentiles of the values of each feature [m, 6]; 0 where it has none."""
    order = value.argsort()
    order = order[feature[order].argsort(stable=True)]
    value = value[order]
    counts = torch.bincount(feature, minlength=m)
    starts = counts.cumsum(0) - counts
    shares = torch.tensor(QUANTILES) / 100
    index = starts.unsqueeze(1) + (shares * (counts - 1).clamp(min=0).unsqueeze(1)).round().long()
    found = value[index.clamp(max=len(value) - 1)] if len(value) else torch.zeros(m, len(shares))
    return torch.where(counts.unsqueeze(1) > 0, found, 0.0)


def _windows(
    dictionary: Dictionary, corpus: Corpus, best: Tensor, where: Tensor
) -> tuple[Tensor, Tensor]:
    """Token ids and the feature's activations around each strongest token, [m, 10, 24] each."""
    before, after = WINDOW
    m, length = best.shape[1], corpus.tokens.shape[1]
    contexts = torch.full((m, TOP, before + after), -1, dtype=torch.long)
    activations = torch.zeros(m, TOP, before + after)
    offsets = torch.arange(-before, after)
    rank, feature = (best > 0).nonzero(as_tuple=True)
    context, position = where[rank, feature] // length, where[rank, feature] % length
    order = context.argsort(stable=True)
    rows, counts = context[order].unique_consecutive(return_counts=True)
    for row, mine in zip(rows.tolist(), order.split(counts.tolist()), strict=True):
        # All that is shown of a context at once: many features have their strongest tokens there.
        features = dictionary.encode_texts(corpus.activations[row : row + 1].float())[0][0]
        features *= corpus.keep[row].unsqueeze(-1)
        at = position[mine].unsqueeze(1) + offsets
        inside, at = (at >= 0) & (at < length), at.clamp(0, length - 1)
        slot = feature[mine], rank[mine]
        contexts[slot] = torch.where(inside, corpus.tokens[row, at].long(), -1)
        activations[slot] = torch.where(inside, features[at, feature[mine].unsqueeze(1)], 0.0)
    return contexts, activations
