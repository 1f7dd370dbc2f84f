"""Texts in which a feature is strongly active, each ending at the token where it is.

They are drawn from the upper half of the feature's range, activations in [M/2, M] with M its
maximum (Cunningham et al. 2023, section 5.3): from texts that are given, or from the top contexts
that a dictionary keeps. Those are windows of long texts, so the activation is measured again in
the window itself, and they are at the top of the range rather than spread over its upper half.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dictionaries.beside.statistics import WINDOW
from dictionaries.dictionary import Dictionary
from steer.features.activations import encode_feature
from steer.maths.precision import compute_dtype, exact
from steer.model import Model

_BATCH = 16


@dataclass(frozen=True)
class Context:
    """Tokens of a text up to one at which the feature is active, and how strongly."""

    ids: tuple[int, ...]
    tokens: tuple[str, ...]
    activation: float


@dataclass(frozen=True, eq=False)
class Read:
    """Texts that were run: ids [s] of each, and x [s, d] at one dictionary's site."""

    ids: tuple[Tensor, ...]
    x: tuple[Tensor, ...]


@dataclass(frozen=True, eq=False)
class FoundContexts:
    """Contexts of a feature; maximum: the M whose upper half they are drawn from."""

    contexts: tuple[Context, ...]
    maximum: float


def find_contexts(
    model: Model,
    dictionary: Dictionary,
    feature: int,
    texts: Read | None = None,
    *,
    count: int = 20,
    seed: int = 0,
) -> FoundContexts:
    """At most `count` contexts, one a text, drawn at random where there are more.

    texts: what `read_texts` gives; by default the top contexts of the dictionary's statistics (ten
        at most). M is the statistics' maximum, or the largest activation on the texts if it is
        more.

    The first token of a text is never one. Raises `DictionaryError` for a feature out of range.
    """
    dictionary.check_features([feature])
    statistics = dictionary.statistics
    maximum = 0.0 if statistics is None else statistics.maximum[feature].item()
    windows = [] if statistics is None else _windows(statistics.contexts[feature])
    read = _run(model, dictionary, windows) if texts is None else texts
    ours = dictionary.to(model.device, compute_dtype(model.module.dtype))
    with torch.inference_mode():
        values = [encode_feature(ours, feature, exact(x).unsqueeze(0))[0].cpu() for x in read.x]
    # A window was kept for its last token; in a text any token but the first may be strong.
    first = [1 if texts is not None else len(value) - 1 for value in values]
    if texts is not None:
        maximum = max([maximum, *(v[1:].max().item() for v in values if len(v) > 1)])
    generator = torch.Generator().manual_seed(seed)
    contexts: list[Context] = []
    for number in torch.randperm(len(values), generator=generator).tolist():
        value = values[number]
        strong = (value > 0) & (value >= maximum / 2) & (value <= maximum * (1 + 1e-6))
        places = [at for at in strong.nonzero().flatten().tolist() if at >= first[number]]
        if places and len(contexts) < count:
            place = places[int(torch.randint(len(places), (1,), generator=generator))]
            ids = read.ids[number][: place + 1].tolist()
            tokens = tuple(model.token(token) for token in ids)
            contexts.append(Context(tuple(ids), tokens, value[place].item()))
    return FoundContexts(tuple(contexts), maximum)


def read_texts(model: Model, dictionary: Dictionary, texts: Sequence[str]) -> Read:
    """Run texts as far as the dictionary's site. Raises what `Model.tokenize` raises."""
    return _run(model, dictionary, model.tokenize_each(texts))


def _run(model: Model, dictionary: Dictionary, rows: Sequence[Tensor]) -> Read:
    site, values = model.site_of(dictionary), list[Tensor]()
    for start in range(0, len(rows), _BATCH):
        part = rows[start : start + _BATCH]
        x = model.collect(*model.pad(part), [site])[site]
        values += [row_values[-len(row) :] for row_values, row in zip(x, part, strict=True)]
    return Read(tuple(rows), tuple(values))


def _windows(contexts: Tensor) -> list[Tensor]:
    """Ids [t] of each kept window [n, 24], up to its strongest token."""
    cut = [window[: WINDOW[0] + 1] for window in contexts]
    return [window[window >= 0] for window in cut if window[-1] >= 0 and (window >= 0).sum() > 1]
