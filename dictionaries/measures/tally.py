"""What each feature did on a part of a corpus, as a value: parts merge, in any order, to the whole.

Counts and maxima are exact. Sums are whole numbers of 2⁻²⁴, so that their order does not matter.
Quantiles come from a histogram whose buckets are the leading bits of a float: what it gives is
within 2⁻⁷ (0.8%) of the value asked for. Of contexts that are equally strong, a hash of their
tokens says which comes first.
"""

from __future__ import annotations

import base64
import zlib
from dataclasses import dataclass, fields

import torch
from safetensors.torch import load, save
from torch import Tensor

from dictionaries.beside.statistics import QUANTILES, TOP, WINDOW, FeatureStatistics

UNITS = 2.0**24
"""Of a sum, in one."""
_DROPPED = 17
"""Of a float's 23 bits of mantissa, all but six."""
_POSITIVE = 2 ** (31 - _DROPPED)
"""The first bucket of values above 0; those below come before it, the largest the last."""
_BUCKETS = 2 * _POSITIVE
RELATIVE_ERROR = 2.0**-7
"""Of a quantile: half a bucket's width."""


@dataclass(frozen=True, eq=False)
class Tally:
    """m features on `tokens` kept tokens.

    count, total, maximum [m]: active tokens; sum of activations, in units; the largest.
    buckets, filled [b]: feature · 2¹⁵ + bucket, in ascending order, and the tokens in each.
    peaks, hashes [m, 10]: strongest activations, at most one a context, and what orders ties;
    contexts, context_activations [m, 10, 24]: see `FeatureStatistics`.
    """

    tokens: int
    count: Tensor
    total: Tensor
    maximum: Tensor
    buckets: Tensor
    filled: Tensor
    peaks: Tensor
    hashes: Tensor
    contexts: Tensor
    context_activations: Tensor

    @classmethod
    def nothing(cls, width: int) -> Tally:
        """Of no tokens: merged with another, it is the other."""
        none, numbers = torch.zeros(0).long(), torch.zeros(width, TOP)
        window = torch.full((width, TOP, sum(WINDOW)), -1)
        zeros = torch.zeros(width).long()
        hashes, shown = numbers.long(), torch.zeros(window.shape)
        return cls(0, zeros, zeros, torch.zeros(width), none, none, numbers, hashes, window, shown)

    def packed(self) -> str:
        """As text for a line of JSON."""
        tensors = {field.name: getattr(self, field.name) for field in fields(self)[1:]}
        tensors["contexts"] = self.contexts.to(torch.int32)
        tensors = {name: tensor.contiguous() for name, tensor in tensors.items()}
        whole = save({"tokens": torch.tensor(self.tokens), **tensors})
        return base64.b64encode(zlib.compress(whole, 1)).decode()

    @classmethod
    def unpacked(cls, text: str) -> Tally:
        """Inverse of `packed`."""
        tensors = load(zlib.decompress(base64.b64decode(text)))
        tokens, contexts = int(tensors.pop("tokens")), tensors.pop("contexts").long()
        return cls(tokens=tokens, contexts=contexts, **tensors)

    def merged(self, other: Tally) -> Tally:
        """Of both parts together."""
        buckets, filled = joined(
            torch.cat([self.buckets, other.buckets]), torch.cat([self.filled, other.filled])
        )
        peaks = torch.cat([self.peaks, other.peaks], dim=1)
        hashes = torch.cat([self.hashes, other.hashes], dim=1)
        order = strongest(peaks, hashes)
        window = order.unsqueeze(-1).expand(-1, -1, self.contexts.shape[-1])
        return Tally(
            tokens=self.tokens + other.tokens,
            count=self.count + other.count,
            total=self.total + other.total,
            maximum=torch.maximum(self.maximum, other.maximum),
            buckets=buckets,
            filled=filled,
            peaks=peaks.gather(1, order),
            hashes=hashes.gather(1, order),
            contexts=torch.cat([self.contexts, other.contexts], dim=1).gather(1, window),
            context_activations=torch.cat(
                [self.context_activations, other.context_activations], dim=1
            ).gather(1, window),
        )

    def statistics(self) -> FeatureStatistics:
        """As they are kept beside a dictionary, without the tokens that features promote."""
        empty = torch.zeros(len(self.count), 0)
        return FeatureStatistics(
            density=(self.count.double() / max(self.tokens, 1)).float(),
            maximum=self.maximum,
            mean=(self.total.double() / UNITS / self.count.clamp(min=1)).float(),
            quantiles=self._quantiles(),
            contexts=self.contexts,
            context_activations=self.context_activations,
            promoted=empty.long(),
            promoted_logits=empty,
            suppressed=empty.long(),
            suppressed_logits=empty,
            tokens=self.tokens,
        )

    def _quantiles(self) -> Tensor:
        """Percentiles of each feature where it is active, [m, 6]; 0 where it never is."""
        if not len(self.buckets):
            return torch.zeros(len(self.count), len(QUANTILES))
        below = self.count.cumsum(0) - self.count
        shares = torch.tensor(QUANTILES, dtype=torch.float64) / 100
        rank = (shares * (self.count - 1).clamp(min=0).unsqueeze(1)).round().long()
        reached = self.filled.cumsum(0)
        place = torch.searchsorted(reached, below.unsqueeze(1) + rank, right=True)
        bucket = self.buckets[place.clamp(max=len(self.buckets) - 1)] % _BUCKETS
        return torch.where(self.count.unsqueeze(1) > 0, _middle(bucket), 0.0)


def histogram(values: Tensor) -> tuple[Tensor, Tensor]:
    """Buckets [b] and how many of the values [n, m] of m features that are not 0 are in each."""
    token, feature = values.nonzero(as_tuple=True)
    chosen = values[token, feature].float()
    size = chosen.abs().view(torch.int32).long() >> _DROPPED
    bucket = torch.where(chosen > 0, _POSITIVE + size, _POSITIVE - 1 - size)
    return joined(feature * _BUCKETS + bucket, torch.ones_like(feature))


def joined(buckets: Tensor, filled: Tensor) -> tuple[Tensor, Tensor]:
    """The same with each bucket once."""
    unique, place = buckets.unique(return_inverse=True)
    return unique, torch.zeros_like(unique).index_add(0, place, filled)


def strongest(peaks: Tensor, hashes: Tensor) -> Tensor:
    """Places [m, 10] of the largest peaks [m, n], the smaller hash first among equals."""
    by_hash = hashes.argsort(dim=1, stable=True)
    by_peak = peaks.gather(1, by_hash).argsort(dim=1, descending=True, stable=True)
    return by_hash.gather(1, by_peak[:, :TOP])


def _middle(bucket: Tensor) -> Tensor:
    """The float in the middle of a bucket."""
    positive = bucket >= _POSITIVE
    size = torch.where(positive, bucket - _POSITIVE, _POSITIVE - 1 - bucket)
    bits = (size << _DROPPED) + (1 << (_DROPPED - 1))
    middle = bits.to(torch.int32).view(torch.float32)
    return torch.where(positive, middle, -middle)
