"""What each feature of any dictionary does on any texts: one streaming pass, kept beside it.

So `"5x max"` and feature cards need neither a service nor the corpus that it was trained on.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from dictionaries.beside.statistics import TOP, FeatureStatistics
from dictionaries.dictionary import Dictionary
from dictionaries.measures.corpus import Corpus, collect_statistics, with_tokens
from dictionaries.sites import in_residual_space
from dictionaries.training.activations import keep_mask
from steer.errors import ModelError
from steer.features.contexts import OUTLIER_MEDIANS, contexts
from steer.features.fit import site_of
from steer.features.norm_gain import after_gain
from steer.lm.language_model import LanguageModel
from steer.lm.unembedding import direct_logits
from steer.progress import Progress

CONTEXT = 256
_BATCH = 8


def feature_statistics(
    model: LanguageModel,
    dictionary: Dictionary,
    texts: Sequence[str],
    *,
    tokens: int = 200_000,
    context: int = CONTEXT,
    corpus: str = "",
    progress: Progress | None = None,
) -> FeatureStatistics:
    """Density, maximum, mean, quantiles, top contexts and promoted tokens of every feature.

    The texts are joined and cut into contexts; first tokens and massive activations (norms above
    four medians) don't count, as in training. Activations lie in a temporary file of
    tokens · d · 4 bytes, exact; nothing is kept of it.

    tokens: most to read. corpus: the texts in words, kept with the figures.
    Raises `PromptError` for too little text, `DictionaryError` for another model's dictionary.
    """
    dictionary = after_gain(model, dictionary)
    hookpoint = site_of(model, dictionary)
    ids = contexts(model, texts, tokens, context)
    dictionary = dictionary.to(dtype=torch.float32)
    with tempfile.TemporaryDirectory() as folder:
        x = _collected(model, ids, hookpoint, Path(folder) / "activations.f32", progress)
        norms = torch.cat([part.norm(dim=-1) for part in x.split(64)])
        keep, _ = keep_mask(norms, OUTLIER_MEDIANS)
        shown = torch.ones(len(ids), dtype=torch.bool)
        statistics = collect_statistics(
            dictionary,
            Corpus(activations=x, tokens=ids.cpu(), keep=keep, shippable=shown),
            (lambda done, total: progress("statistics", done, total)) if progress else None,
        )
        del x
    statistics = replace(statistics, corpus=corpus)
    written = dictionary.config.hookpoint_out or hookpoint
    return _named(model, dictionary, statistics) if in_residual_space(written) else statistics


def _collected(
    model: LanguageModel, ids: Tensor, hookpoint: str, file: Path, progress: Progress | None
) -> Tensor:
    """float32 [n, length, d], mapped from a file."""
    n, length = ids.shape
    mapped: Tensor | None = None
    for start in range(0, n, _BATCH):
        rows = ids[start : start + _BATCH]
        (stream,) = model.collect(rows, torch.ones_like(rows), [hookpoint]).values()
        if mapped is None:
            size = n * length * stream.shape[-1]
            flat = torch.from_file(str(file), shared=True, size=size, dtype=torch.float32)
            mapped = flat.view(n, length, -1)
        mapped[start : start + _BATCH] = stream.float().cpu()
        if progress:
            progress("reading", min(start + _BATCH, n), n)
    assert mapped is not None
    return mapped


def _named(
    model: LanguageModel, dictionary: Dictionary, found: FeatureStatistics
) -> FeatureStatistics:
    try:
        return name_tokens(model, dictionary.to(device=model.device), found)
    except ModelError:  # no final norm that is known: the figures stand without tokens
        return found


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
