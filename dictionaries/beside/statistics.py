"""What each feature does on a corpus: how often, how strongly, and where most.

Computed once by streaming over harvested activations, and kept beside the dictionary, so that
`"5x max"` and feature cards need no service.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from dictionaries.dictionary import Dictionary
from dictionaries.errors import DictionaryError, FormatError
from dictionaries.files.place import beside
from dictionaries.files.tensors import save_tensors

QUANTILES = (10, 25, 50, 75, 90, 99)
TOP = 10
WINDOW = (16, 8)
"""Tokens shown before and after a context's strongest one."""
FILE = "features.safetensors"
_QUANTILE_STRIDE = 8
_FLOATS = 2**26
"""Most features at once, so that a wide dictionary does not take all memory."""
_TENSORS = (
    "density",
    "maximum",
    "mean",
    "quantiles",
    "contexts",
    "context_activations",
    "promoted",
    "promoted_logits",
    "suppressed",
    "suppressed_logits",
)
_IDS = ("contexts", "promoted", "suppressed")


@dataclass(frozen=True, eq=False)
class FeatureStatistics:
    """Per-feature statistics over `tokens` kept tokens; m features.

    density [m]: share of tokens where the feature is active.
    maximum, mean [m]: largest activation, and mean where active.
    quantiles [m, 6]: percentiles `QUANTILES` of the activation where active.
    contexts [m, 10, 24]: token ids around the ten strongest activations, -1 where there is none.
    context_activations [m, 10, 24]: the feature's activation at those tokens.
    promoted, suppressed [m, 10]: token ids whose logits its decoder row raises and lowers most,
        compared with the dictionary's other features; with those logits.
    corpus: what was read, in words; empty if nobody said.
    """

    density: Tensor
    maximum: Tensor
    mean: Tensor
    quantiles: Tensor
    contexts: Tensor
    context_activations: Tensor
    promoted: Tensor
    promoted_logits: Tensor
    suppressed: Tensor
    suppressed_logits: Tensor
    tokens: int
    corpus: str = ""

    def value(self, feature: int, unit: str) -> float:
        """`max`, `mean` (where active), `corpus mean` (over all tokens) or a quantile, as `q99`.

        Raises `DictionaryError` for a feature that was never active, whose multiples are all 0,
        or for a quantile that was not kept.
        """
        if self.maximum[feature] <= 0:
            raise DictionaryError(
                f"feature {feature} was never active on the statistics' {self.tokens} tokens, so "
                f"a multiple of its {unit} means nothing; give the value as an activation"
            )
        if unit == "corpus mean":
            return (self.mean * self.density)[feature].item()
        if unit in ("max", "mean"):
            return (self.maximum if unit == "max" else self.mean)[feature].item()
        percent = int(unit.removeprefix("q"))
        if percent not in QUANTILES:
            kept = ", ".join(f"q{q}" for q in QUANTILES)
            raise DictionaryError(f"quantile {unit} was not kept; kept: {kept}")
        return self.quantiles[feature, QUANTILES.index(percent)].item()

    def save(self, folder: Path) -> None:
        """Write `features.safetensors` into the folder (or next to this one file).

        Token ids take 16 bits where they fit, contexts' activations 8 (in 255ths of the feature's
        maximum, never rounded to 0), logits and quantiles fp16.
        """
        tensors = {name: getattr(self, name).contiguous() for name in _TENSORS}
        for name in ("promoted_logits", "suppressed_logits", "quantiles"):
            tensors[name] = tensors[name].half()
        for name in _IDS:
            tensors[name] = _pack(tensors[name])
        shares = self.context_activations / self.maximum.clamp(min=1e-30)[:, None, None]
        tensors["context_activations"] = (shares * 255).ceil().clamp(0, 255).to(torch.uint8)
        metadata = {"tokens": json.dumps(self.tokens), "corpus": self.corpus}
        save_tensors(tensors, beside(folder, FILE), metadata)

    @classmethod
    def load(cls, folder: Path) -> FeatureStatistics | None:
        """What `save` wrote, or None if the folder has no statistics."""
        path = beside(folder, FILE)
        if not path.exists():
            return None
        try:
            with safe_open(path, "pt") as file:
                tensors = {name: file.get_tensor(name) for name in _TENSORS}
                tokens = int(json.loads(file.metadata()["tokens"]))
                corpus = file.metadata().get("corpus", "")
        except (SafetensorError, KeyError, ValueError, TypeError) as error:
            raise FormatError(f"{path} is damaged: {error}; fetch the dictionary again") from error
        unpacked = {name: _unpack(tensor) for name, tensor in tensors.items()}
        if tensors["context_activations"].dtype == torch.uint8:
            unpacked["context_activations"] *= unpacked["maximum"][:, None, None] / 255
        return cls(**unpacked, tokens=tokens, corpus=corpus)


def _pack(ids: Tensor) -> Tensor:
    """Token ids, -1 for none, in as few bits as they need."""
    small = not ids.numel() or ids.max().item() < 2**16 - 1
    return (ids + 1).to(torch.uint16) if small else ids.to(torch.int32)


def _unpack(tensor: Tensor) -> Tensor:
    if tensor.dtype == torch.uint16:
        return tensor.long() - 1
    if tensor.dtype == torch.uint8 or tensor.is_floating_point():
        return tensor.float()
    return tensor.long()


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
