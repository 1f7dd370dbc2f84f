"""How fluent a text is: its loss under the untouched model, and how much of it repeats."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor

from steer.lm.continuations import Continuation, batches
from steer.lm.language_model import LanguageModel
from steer.maths import metrics


@torch.inference_mode()
def losses(model: LanguageModel, continuations: Sequence[Continuation]) -> Tensor:
    """Mean loss [n] of each continuation's own tokens, in nats per token.

    Raises `PromptError` for one without tokens.
    """
    means = torch.zeros(len(continuations), dtype=torch.float64)
    for places, ids, mask in batches(model, continuations):
        by_token = metrics.cross_entropy(model.logits(ids, mask), ids)
        for place, row in zip(places, by_token, strict=True):
            means[place] = row[-len(continuations[place].ids) :].double().mean().cpu()
    return means


def distinct_pairs(units: Sequence[int] | Sequence[str]) -> float:
    """Share of consecutive pairs of tokens, or words, that are distinct; 0 if there are none."""
    pairs = list(pairwise(units))
    return len(set(pairs)) / len(pairs) if pairs else 0.0
