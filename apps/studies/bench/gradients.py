"""Attribution, in forward and backward passes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from apps.studies.bench.operations import Operations
from apps.studies.bench.prompt import PROMPT
from apps.studies.bench.timed import Figure, figure, interleaved

if TYPE_CHECKING:
    from dictionaries.dictionary import Dictionary
    from steer.model import Model


def in_passes(model: Model, dictionary: Dictionary, cost: Operations, pairs: int) -> Figure:
    """Attribution with 10 steps, in whole forward and backward passes of the same prompt."""
    import torch

    from steer.effects.attribution.attribution import attribution
    from steer.effects.metric import LogitDifference

    ids, mask = model.tokenize([PROMPT])
    metric = LogitDifference(" Mary", " John")

    def whole() -> None:
        embeddings = model.module.get_input_embeddings()(ids).detach().requires_grad_()
        logits = model.module(inputs_embeds=embeddings, attention_mask=mask).logits
        torch.autograd.grad(logits[0, -1, 0], embeddings)

    runs = interleaved(lambda: attribution(model, PROMPT, dictionary, metric), whole, pairs)
    share = cost.above * cost.block / cost.token
    return figure(runs, 10 * share)
