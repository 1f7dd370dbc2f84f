"""The next token of one row: transformers' own processors, in the order that `generate` has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from steer.lm.language_model import LanguageModel
from steer.runs.settings import inherited
from steer.serving.ask import Ask, Penalties, Scored


@dataclass(frozen=True, eq=False)
class Draw:
    """How a row draws. processors: of ids [1, s] and logits [1, V]; ends: tokens that end a text.

    inherited: what the model's own generation_config adds.
    """

    processors: Any
    ends: frozenset[int]
    inherited: Mapping[str, Any]

    @classmethod
    def of(cls, model: LanguageModel, ask: Ask) -> Draw:
        """As `Model.generate` would draw for this row alone."""
        module, length = model.module, len(ask.prompt.ids)
        brought = inherited(module, ask.sampling.options)
        options = {**brought.options, **ask.sampling.generate_options()}
        own = options.pop("logits_processor")
        if ask.penalties.frequency or ask.penalties.presence:
            own.insert(0, _Penalised(ask.penalties, length))
        config, _ = module._prepare_generation_config(None, **options)
        config.max_length = length + ask.max_tokens
        if config.min_new_tokens is not None:
            config.min_length = length + config.min_new_tokens
        module._prepare_special_tokens(config, True, device=model.device)
        ids = torch.tensor([ask.prompt.ids], device=model.device)
        processors = module._get_logits_processor(
            generation_config=config,
            input_ids_seq_length=length,
            encoder_input_ids=ids,
            logits_processor=own,
            device=str(model.device),
            model_kwargs={},
        )
        ends = module.generation_config.eos_token_id
        listed = ends if isinstance(ends, list) else [ends]
        return cls(processors, frozenset(listed) - {None}, brought.acting)

    def next(self, ids: Sequence[int], logits: Tensor) -> int:
        """From logits [V] behind these tokens."""
        read = torch.tensor([ids], device=logits.device)
        return int(self.processors(read, logits.float().clone().unsqueeze(0)).argmax(-1))


class _Penalised:
    """Takes penalties off, for tokens from `start` on."""

    def __init__(self, penalties: Penalties, start: int) -> None:
        self.penalties, self.start = penalties, start

    def __call__(self, ids: Tensor, scores: Tensor) -> Tensor:
        counts = torch.bincount(ids[0, self.start :], minlength=scores.shape[1])[: scores.shape[1]]
        frequency, presence = self.penalties.frequency, self.penalties.presence
        taken = frequency * counts + presence * (counts > 0)
        return scores - taken.to(scores.dtype)


def scored(logits: Tensor, ids: Sequence[int], top: int) -> list[Scored]:
    """Each of ids [n] under logits [n, V], with so many likely ones."""
    logprobs = logits.float().log_softmax(-1)
    own = logprobs.gather(-1, torch.tensor(ids, device=logits.device).unsqueeze(-1)).squeeze(-1)
    values, places = logprobs.topk(max(top, 1), dim=-1)
    rows = zip(ids, own.tolist(), places.tolist(), values.tolist(), strict=True)
    return [
        Scored(token, mine, tuple(zip(likely, theirs, strict=True))[:top])
        for token, mine, likely, theirs in rows
    ]
