"""A feature for each concept, chosen in the same way in any dictionary: by what its row writes.

Each row of the decoder is pushed alone at the last token of neutral prompts, by as much of the
stream's norm; the feature is the one under which the next token is likeliest to be of the concept.
It is the output score of Arad et al. 2025 with the concept's own tokens in place of those that the
row's logit lens names. No question and no text that E7 steers on bears on the choice.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from apps.labels.reading import token_texts
from apps.reproduce.e7_steering.concepts import Concept
from dictionaries.dictionary import Dictionary
from steer.effects.passes.changes import clean_for
from steer.errors import SteerError
from steer.evals.steering.written import DOSE, NEUTRAL
from steer.maths.precision import exact

if TYPE_CHECKING:
    from steer.model import Model

_BATCH = 256


def concept_tokens(model: Model, concepts: Sequence[Concept]) -> list[Tensor]:
    """Ids of the tokens that are a mention of each concept as they stand.

    Raises `SteerError` for a concept that no token mentions.
    """
    texts = token_texts(model.tokenizer, model.module.config.get_text_config().vocab_size)
    tokens = []
    for concept in concepts:
        mention = re.compile(concept.pattern, re.IGNORECASE)
        ids = [token for token, text in enumerate(texts) if mention.fullmatch(text.strip())]
        if not ids:
            raise SteerError(f"no token of {model.name} is a mention of {concept.name}")
        tokens.append(torch.tensor(ids))
    return tokens


def choose(
    model: Model,
    dictionary: Dictionary,
    concepts: Sequence[Concept],
    prompts: Sequence[str] = NEUTRAL,
) -> dict[str, tuple[int, float]]:
    """Concept -> its feature, and the probability of the concept's tokens under it, mean over the
    prompts."""
    tokens = concept_tokens(model, concepts)
    written = torch.stack([probabilities(model, dictionary, tokens, text) for text in prompts])
    best = written.mean(0).max(0)
    return {
        concept.name: (int(best.indices[place]), best.values[place].item())
        for place, concept in enumerate(concepts)
    }


@torch.inference_mode()
def probabilities(
    model: Model, dictionary: Dictionary, tokens: Sequence[Tensor], prompt: str
) -> Tensor:
    """Probability [width, concepts] that the next token is of each concept, a row pushed."""
    ids, _ = model.tokenize([prompt])
    clean = clean_for(model, ids[0], dictionary, every=False)
    rows = dictionary.W_dec / dictionary.W_dec.norm(dim=-1, keepdim=True).clamp(min=1e-9)
    pushes = (DOSE * exact(clean.x[-1]).norm() * rows.to(clean.x.device)).to(clean.x.dtype)
    parts = []
    for part in pushes.split(_BATCH):
        delta = clean.x.new_zeros(len(part), *clean.x.shape)
        delta[:, -1] = part
        likely = exact(clean.resume(delta).logits[:, -1]).softmax(-1).cpu()
        parts.append(torch.stack([likely[:, own].sum(1) for own in tokens], dim=1))
    return torch.cat(parts).double()
