"""Per-feature statistics over a corpus, by streaming over harvested activations."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from dictionaries.beside.statistics import TOP, WINDOW, FeatureStatistics
from dictionaries.dictionary import Dictionary
from dictionaries.measures.tally import UNITS, Tally, histogram, joined, strongest

_DTYPES = (torch.long, torch.long, torch.float32)
"""Of counts, totals and maxima."""
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
    return tally(dictionary, corpus, progress).statistics()


@torch.inference_mode()
def tally(
    dictionary: Dictionary, corpus: Corpus, progress: Callable[[int, int], None] | None = None
) -> Tally:
    """The same as a value: tallies of the parts of a corpus merge to that of the whole.

    Contexts are encoded one at a time, so that the bits of an activation are the same in any part.
    """
    m = dictionary.width
    count, total, maximum = (torch.zeros(m, dtype=dtype) for dtype in _DTYPES)
    peaks = torch.zeros(m, TOP)
    hashes, where = torch.zeros(m, TOP, dtype=torch.long), torch.full((m, TOP), -1)
    parts: list[tuple[Tensor, Tensor]] = []
    for rows in corpus.batches(max(1, min(16, _FLOATS // (corpus.tokens.shape[1] * m)))):
        features = _encoded(dictionary, corpus, rows)
        flat = features.flatten(0, 1)
        count += (flat != 0).sum(0)
        total += (flat.double() * UNITS).round().long().sum(0)
        maximum = torch.maximum(maximum, flat.amax(0))
        parts.append(histogram(flat))
        shown = features * corpus.shippable[rows, None, None]
        peaks, hashes, where = _merge(
            (peaks, hashes, where), shown, corpus.tokens[rows], rows.start
        )
        if progress:
            progress(min(rows.stop, len(corpus.tokens)), len(corpus.tokens))
    contexts, activations = _windows(dictionary, corpus, peaks.T, where.T)
    buckets, filled = joined(torch.cat([p[0] for p in parts]), torch.cat([p[1] for p in parts]))
    return Tally(
        tokens=int(corpus.keep.sum()),
        count=count,
        total=total,
        maximum=maximum,
        buckets=buckets,
        filled=filled,
        peaks=peaks,
        hashes=hashes,
        contexts=contexts,
        context_activations=activations,
    )


def _encoded(dictionary: Dictionary, corpus: Corpus, rows: slice) -> Tensor:
    """Features [n, length, m] of some contexts, 0 where a position does not count."""
    encoded = [
        dictionary.encode_texts(context.unsqueeze(0).float())[0][0]
        for context in corpus.activations[rows]
    ]
    return torch.stack(encoded) * corpus.keep[rows].unsqueeze(-1)


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


def _merge(
    best: tuple[Tensor, Tensor, Tensor], features: Tensor, tokens: Tensor, start: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Running ten strongest (peaks, hashes, places) [m, 10], at most one a context, from features
    [n, length, m] of tokens [n, length]."""
    length = features.shape[1]
    values, position = (side.T for side in features.max(dim=1))
    places = (start + torch.arange(len(features))) * length + position
    content = _hashes(tokens) + position
    new = values, torch.where(values > 0, content, 0), torch.where(values > 0, places, -1)
    pooled = [torch.cat([old, more], dim=1) for old, more in zip(best, new, strict=True)]
    order = strongest(pooled[0], pooled[1])
    peaks, hashes, where = (tensor.gather(1, order) for tensor in pooled)
    return peaks, hashes, where


def _hashes(tokens: Tensor) -> Tensor:
    """A number of each context's tokens [n, length]: the same wherever the context stands."""
    factors = torch.randint(2**62, tokens.shape[1:], generator=torch.Generator().manual_seed(0))
    return (tokens.long() * factors).sum(1)


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
