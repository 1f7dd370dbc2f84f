"""Does a feature write? How much likelier its tokens become when it is pushed.

The tokens are the ten that its decoder row promotes, as its statistics have them; it is pushed at
every token but the first, to half the stream's norm, where text just begins to break. A feature
that only detects raises tokens that stay improbable all the same.

The output score of Arad et al. 2025 (`feature_scores`) pushes the last token alone, further than
text bears, and takes the likeliest token: of eleven features known to steer it gives five less
than 0.1. Their tokens become likelier by 0.05 or more here, but for two.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from dictionaries.beside.statistics import FeatureStatistics
from dictionaries.dictionary import Dictionary
from steer.effects.passes.changes import clean_for
from steer.errors import DictionaryError, SteerError
from steer.maths.precision import exact
from steer.model import Model

if TYPE_CHECKING:
    from steer.progress import Progress

NEUTRAL = ("In my experience,", "The old bridge was", "She said that the")
DOSE = 0.5
"""Of the stream's norm."""
_BATCH = 256


@torch.inference_mode()
def written(
    model: Model,
    dictionary: Dictionary,
    features: Sequence[int] | None = None,
    *,
    prompts: Sequence[str] = NEUTRAL,
    dose: float = DOSE,
    progress: Progress | None = None,
) -> Tensor:
    """How much the probability of a feature's promoted tokens rises, [n], −1 to 1.

    Their sum with the feature pushed minus without, at the next token, mean over the prompts; of
    all features if None.
    Raises `DictionaryError` without statistics that name tokens, or for a feature out of range.
    """
    chosen = list(range(dictionary.width) if features is None else features)
    dictionary.check_features(chosen)
    if not prompts or isinstance(prompts, str):
        raise SteerError("give one or more prompts to push features on")
    if dictionary.statistics is None or not dictionary.statistics.promoted_logits.any():
        raise DictionaryError(
            f"{dictionary.name} has no statistics that say what its features promote: "
            "steer statistics FOLDER --corpus FILE"
        )
    tokens = dictionary.statistics.promoted[chosen].clamp(min=0)
    rise = torch.zeros(len(chosen), dtype=torch.float64)
    for number, prompt in enumerate(prompts):
        rise += _rise(model, dictionary, chosen, tokens, prompt, dose) / len(prompts)
        if progress:
            progress("pushing features", number + 1, len(prompts))
    return rise.float()


def with_written(
    model: Model,
    dictionary: Dictionary,
    statistics: FeatureStatistics,
    progress: Progress | None = None,
) -> FeatureStatistics:
    """The statistics with that figure; without where they name no tokens, or a feature writes
    several sites.
    """
    if dictionary.later or not statistics.promoted_logits.any():
        return statistics
    measured = written(model, replace(dictionary, statistics=statistics), progress=progress)
    return replace(statistics, written=measured)


def _rise(
    model: Model,
    dictionary: Dictionary,
    features: list[int],
    tokens: Tensor,
    prompt: str,
    dose: float,
) -> Tensor:
    """On one prompt, [n]."""
    ids, _ = model.tokenize([prompt])
    clean = clean_for(model, ids[0], dictionary, every=False)
    lengths = dose * exact(clean.x).norm(dim=-1, keepdim=True)
    lengths[0] = 0  # its activation is massive
    untouched = _likely(clean.resume(clean.x.new_zeros(1, *clean.x.shape)).logits)
    rises = []
    for start in range(0, len(features), _BATCH):
        part = slice(start, start + _BATCH)
        rows = exact(dictionary.W_dec[features[part]].to(clean.x.device))
        units = rows / rows.norm(dim=1, keepdim=True).clamp(min=1e-12)
        after = _likely(clean.resume((lengths * units[:, None]).to(clean.x.dtype)).logits)
        index = tokens[part].to(after.device)
        before = untouched.expand_as(after).gather(1, index)
        rises.append((after.gather(1, index) - before).sum(1).cpu())
    return torch.cat(rises)


def _likely(logits: Tensor) -> Tensor:
    """Probabilities [n, V] of the next token, float64."""
    return logits[:, -1].double().softmax(-1)
