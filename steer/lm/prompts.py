"""Prompts as token ids: plain text, or a chat rendered by the model's own template."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from steer.errors import InterventionError, PromptError

if TYPE_CHECKING:
    from steer.model import Model

Message = Mapping[str, str]
"""`{"role": "user", "content": "…"}`; roles are system, user and assistant."""


@dataclass(frozen=True)
class Prompt:
    """Text as the model reads it, and its token ids."""

    text: str
    ids: tuple[int, ...]


def read_prompt(model: Model, prompt: str | Sequence[Message]) -> Prompt:
    """Tokenise text, or render a chat with the template and the assistant's turn open.

    A template writes its own special tokens, so none are added to it: no double BOS.
    Raises `PromptError` for an empty prompt, a malformed chat, a model without a template, or more
    tokens than the model can read.
    """
    if isinstance(prompt, str):
        if not prompt.strip():
            raise PromptError(f"a prompt must be text with at least one token, not {prompt!r}")
        ids = model.tokenizer(prompt)["input_ids"]
        return _checked(model, Prompt(prompt, tuple(ids)))
    _check_messages(prompt)
    if not model.tokenizer.chat_template:
        raise PromptError(f"{model.name} has no chat template; give the prompt as text")
    text = model.tokenizer.apply_chat_template(
        [dict(message) for message in prompt], tokenize=False, add_generation_prompt=True
    )
    ids = model.tokenizer(text, add_special_tokens=False)["input_ids"]
    return _checked(model, Prompt(text, tuple(ids)))


def _check_messages(messages: Sequence[Message]) -> None:
    if not isinstance(messages, Sequence) or not messages:
        raise PromptError(f"a prompt is text or a list of messages, not {messages!r}")
    for message in messages:
        if not isinstance(message, Mapping) or set(message) != {"role", "content"}:
            several = "; for several texts, use generate_batch" if isinstance(message, str) else ""
            raise PromptError(f"a message has role and content, not {message!r}{several}")
    if messages[-1]["role"] == "assistant":
        raise PromptError("the last message is the assistant's; end with the user's")


def _checked(model: Model, prompt: Prompt) -> Prompt:
    if not prompt.ids:
        raise PromptError(f"no token is left of the prompt {prompt.text!r}")
    if len(prompt.ids) > model.context:
        raise PromptError(
            f"the prompt has {len(prompt.ids)} tokens, and {model.name} reads at most "
            f"{model.context}"
        )
    return prompt


def token_id(model: Model, token: str | int) -> int:
    """The id of a text that is exactly one token, or an id that the model has.

    Raises `InterventionError` for anything else.
    """
    if isinstance(token, int):
        size = model.module.config.get_text_config().vocab_size
        if not 0 <= token < size:
            raise InterventionError(f"{model.name} has token ids 0 to {size - 1}, not {token}")
        return token
    ids = model.tokenizer(token, add_special_tokens=False)["input_ids"]
    if len(ids) != 1:
        pieces = ", ".join(repr(model.token(i)) for i in ids)
        raise InterventionError(f"{token!r} is {len(ids)} tokens ({pieces}), not one; give one")
    return int(ids[0])


def tokenize(model: Model, prompts: Sequence[str]) -> tuple[Tensor, Tensor]:
    """See `Model.tokenize`."""
    if not prompts:
        raise PromptError("no prompts were given; pass at least one")
    for prompt in prompts:
        if not isinstance(prompt, str) or not prompt.strip():
            raise PromptError(f"a prompt must be text with at least one token, not {prompt!r}")
    batch = model.tokenizer(list(prompts), return_tensors="pt", padding=True, padding_side="left")
    longest = int(batch["attention_mask"].sum(1).max())
    if longest == 0:
        raise PromptError(f"no token is left of the prompt {prompts[0]!r}")
    if longest > model.context:
        raise PromptError(
            f"the prompt has {longest} tokens, and {model.name} reads at most {model.context}"
        )
    return batch["input_ids"].to(model.device), batch["attention_mask"].to(model.device)


def can_pad(model: Model) -> bool:
    """Whether the model can read rows with padding.

    Eager attention masks with the least number of the model's dtype and takes the softmax in fp32,
    where the least number of fp64 is −∞: a padding token's row is all −∞, and NaN spreads from it.
    """
    eager = getattr(model.module.config, "_attn_implementation", None) == "eager"
    return model.module.dtype != torch.float64 or not eager


def check_padding(model: Model, mask: Tensor) -> None:
    """Raise `PromptError` for padding that the model can't read."""
    if not bool(mask.all()) and not can_pad(model):
        raise PromptError(
            f"{model.name} in float64 gives NaN for prompts of different lengths in one batch, "
            "since its attention is eager: give them one at a time, or load it in float32"
        )


def pad(model: Model, prompts: Sequence[Prompt]) -> tuple[Tensor, Tensor]:
    """Left-padded ids and mask, each [b, s] on the model's device."""
    longest = max(len(prompt.ids) for prompt in prompts)
    filler = model.tokenizer.pad_token_id
    ids = torch.full((len(prompts), longest), 0 if filler is None else filler)
    mask = torch.zeros_like(ids)
    for row, prompt in enumerate(prompts):
        ids[row, longest - len(prompt.ids) :] = torch.tensor(prompt.ids)
        mask[row, longest - len(prompt.ids) :] = 1
    check_padding(model, mask)
    return ids.to(model.device), mask.to(model.device)
