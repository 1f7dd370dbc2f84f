"""What ablating a feature costs where it is active."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from dictionaries.dictionary import Dictionary
from steer.edits import Ablate, Intervention
from steer.errors import SteerError
from steer.maths import metrics
from steer.model import Model
from steer.splice.edited import edited_logits


@dataclass(frozen=True)
class AblationLoss:
    """Loss of the token after each place where the feature is active, in nats."""

    clean: float
    ablated: float
    tokens: int


def ablation_loss(model: Model, dictionary: Dictionary, feature: int) -> AblationLoss:
    """What ablating a feature costs on its own examples.

    Raises `SteerError` for a dictionary without examples of it.
    """
    statistics = dictionary.statistics
    rows = [] if statistics is None else [row[row >= 0] for row in statistics.contexts[feature]]
    rows = [row for row in rows if len(row) > 1]
    if statistics is None or not rows:
        raise SteerError(f"feature {feature} has no examples to measure its loss on")
    ids, mask = model.pad(rows)
    n = len(rows)
    edit = Intervention(dictionary.name or "dictionary", [Ablate(feature)])
    plans = model.plans([edit], [dictionary], rows=slice(n, 2 * n))
    both = torch.cat([ids, ids])
    logits, records = edited_logits(model, both, model.span(both, torch.cat([mask, mask])), plans)
    loss = metrics.cross_entropy(logits, both).cpu()
    active = ((records[0].before[..., 0] != 0)[:, :-1] & mask[:, :-1].bool()).cpu()
    if not active.any():
        raise SteerError(f"feature {feature} is silent on its examples cut out of their texts")
    return AblationLoss(
        loss[:n][active].mean().item(), loss[n:][active].mean().item(), int(active.sum())
    )
