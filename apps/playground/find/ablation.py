"""What ablating a feature costs where it is active."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dictionaries.dictionary import Dictionary
from steer.edits import Ablate, Intervention
from steer.errors import SteerError
from steer.maths import metrics
from steer.model import Model
from steer.splice import passes


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
    found = dictionary.statistics
    rows = [] if found is None else [row[row >= 0] for row in found.contexts[feature]]
    rows = [row for row in rows if len(row) > 1]
    if found is None or not rows:
        raise SteerError(f"feature {feature} has no examples to measure its loss on")
    ids, mask = pad_left(rows, model.tokenizer.pad_token_id or 0)
    n = len(rows)
    edit = Intervention(dictionary.name or "dictionary", [Ablate(feature)])
    plans = model.plans([edit], [dictionary], rows=slice(n, 2 * n))
    both = torch.cat([ids, ids]).to(model.device)
    span = model.span(both, torch.cat([mask, mask]).to(model.device))
    with model.lock:
        logits, records = passes.logits(model.nn, both, span, plans)
    loss = metrics.cross_entropy(logits, both).cpu()
    active = (records[0].before[..., 0] > 0).cpu()[:, :-1] & mask[:, :-1].bool()
    if not active.any():
        raise SteerError(f"feature {feature} is silent on its examples cut out of their texts")
    return AblationLoss(
        loss[:n][active].mean().item(), loss[n:][active].mean().item(), int(active.sum())
    )


def pad_left(rows: Sequence[Tensor], pad: int) -> tuple[Tensor, Tensor]:
    """Ids and mask [n, longest]."""
    longest = max(len(row) for row in rows)
    ids = torch.full((len(rows), longest), pad)
    mask = torch.zeros_like(ids)
    for number, row in enumerate(rows):
        ids[number, longest - len(row) :] = row
        mask[number, longest - len(row) :] = 1
    return ids, mask
