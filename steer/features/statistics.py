"""What each feature of any dictionary does on contexts, and what its decoder row writes."""

from __future__ import annotations

from functools import reduce

import torch
from torch import Tensor

from dictionaries.beside.statistics import TOP, FeatureStatistics
from dictionaries.dictionary import Dictionary
from dictionaries.measures.corpus import Corpus, tally, with_tokens
from dictionaries.measures.tally import Tally
from dictionaries.training.activations import keep_below, keep_mask
from steer.errors import ModelError
from steer.features.contexts import OUTLIER_MEDIANS, TOKENS, collect
from steer.lm.language_model import LanguageModel
from steer.lm.unembedding import direct_logits

_HELD = 64
"""Contexts whose activations are in memory at once."""
_BATCH = 8


def cutoff(model: LanguageModel, hookpoint: str, ids: Tensor) -> float:
    """The norm above which an activation is massive and does not count: four medians, of about
    4,096 tokens in contexts [n, length] that lie evenly among them."""
    count = min(len(ids), -(-TOKENS // ids.shape[1]))
    few = ids[torch.linspace(0, len(ids) - 1, count).long()]
    (x,) = collect(model, few, hookpoint)
    return keep_mask(x.norm(dim=-1), OUTLIER_MEDIANS)[1]


def tallied(
    model: LanguageModel, dictionary: Dictionary, hookpoint: str, ids: Tensor, most: float
) -> Tally:
    """What a dictionary's features do on contexts [n, length], a few at a time in memory.

    most: the norm of activations that count; first tokens don't.
    """
    parts = []
    for rows in ids.split(_HELD):
        x = _collected(model, rows, hookpoint)
        keep = keep_below(torch.cat([part.norm(dim=-1) for part in x.split(64)]), most)
        shown = torch.ones(len(rows), dtype=torch.bool)
        corpus = Corpus(activations=x, tokens=rows.cpu(), keep=keep, shippable=shown)
        parts.append(tally(dictionary, corpus))
    return reduce(Tally.merged, parts)


def _collected(model: LanguageModel, ids: Tensor, hookpoint: str) -> Tensor:
    """float32 [n, length, d]."""
    parts = []
    for rows in ids.split(_BATCH):
        (stream,) = model.collect(rows, torch.ones_like(rows), [hookpoint]).values()
        parts.append(stream.float().cpu())
    return torch.cat(parts)


def named(
    model: LanguageModel, dictionary: Dictionary, statistics: FeatureStatistics
) -> FeatureStatistics:
    """With the tokens that each decoder row moves, where the model has a final norm."""
    try:
        return name_tokens(model, dictionary.to(device=model.device), statistics)
    except ModelError:  # no final norm that is known: the figures stand without tokens
        return statistics


@torch.inference_mode()
def name_tokens(
    model: LanguageModel, dictionary: Dictionary, statistics: FeatureStatistics
) -> FeatureStatistics:
    """Add the ten tokens that set each decoder row apart, and the logits it gives them.

    Tokens are ranked by direct logits (frozen final norm) standardised over the dictionary's
    features: otherwise a few rare tokens with large unembeddings head every list.
    """
    parts = dictionary.W_dec.split(512)
    first = direct_logits(model, parts[0]).half()
    logits = first.new_empty(dictionary.width, first.shape[1])  # large: never held twice
    for into, rows in zip(logits.split(512), parts, strict=True):
        into.copy_(direct_logits(model, rows))
    columns = logits.split(4096, dim=1)
    mean = torch.cat([part.float().mean(0) for part in columns])
    deviation = torch.cat([part.float().std(0) for part in columns]).clamp(min=1e-6)
    promoted, suppressed = [], []
    for part in logits.split(512):
        standardised = (part.float() - mean) / deviation
        promoted.append(standardised.topk(TOP).indices)
        suppressed.append((-standardised).topk(TOP).indices)
    up, down = torch.cat(promoted), torch.cat(suppressed)
    return with_tokens(
        statistics,
        up.cpu(),
        down.cpu(),
        logits.gather(1, up).float().cpu(),
        logits.gather(1, down).float().cpu(),
    )
