"""Prompts as token ids: plain text, or a chat rendered by the model's own template."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from steer.errors import PromptError
from steer.lm.language_model import LanguageModel, check_characters

Message = Mapping[str, str]
"""`{"role": "user", "content": "…"}`; roles are system, user and assistant."""


@dataclass(frozen=True)
class Prompt:
    """Text as the model reads it, and its token ids."""

    text: str
    ids: tuple[int, ...]


def read_prompt(model: LanguageModel, prompt: str | Sequence[Message]) -> Prompt:
    """Tokenise text, or render a chat with the template and the assistant's turn open.

    A template writes its own special tokens, so none are added to it: no double BOS.
    Raises `PromptError` for an empty prompt, a malformed chat, a model without a template, or more
    tokens than the model can read.
    """
    if isinstance(prompt, str):
        if not prompt.strip():
            raise PromptError(f"a prompt must be text with at least one token, not {prompt!r}")
        check_characters(prompt)
        ids = model.tokenizer(prompt)["input_ids"]
        return _checked(model, Prompt(prompt, tuple(ids)))
    _check_messages(prompt)
    if not model.tokenizer.chat_template:
        raise PromptError(f"{model.name} has no chat template; give the prompt as text")
    from jinja2 import TemplateError

    try:
        text = model.tokenizer.apply_chat_template(
            [dict(message) for message in prompt], tokenize=False, add_generation_prompt=True
        )
    except TemplateError as error:
        raise PromptError(f"{model.name}'s chat template refuses this chat: {error}") from error
    check_characters(text)
    ids = model.tokenizer(text, add_special_tokens=False)["input_ids"]
    return _checked(model, Prompt(text, tuple(ids)))


def as_texts(prompts: str | Sequence[str]) -> tuple[str, ...]:
    """One text or several. Raises `PromptError` for none, and for what is no text."""
    texts = (prompts,) if isinstance(prompts, str) else prompts
    if not isinstance(texts, Sequence) or not texts:
        raise PromptError(f"no prompts were given: pass a text or several, not {prompts!r}")
    for text in texts:
        if not isinstance(text, str):
            raise PromptError(f"a prompt must be text with at least one token, not {text!r}")
        check_characters(text)
    return tuple(texts)


def _check_messages(messages: Sequence[Message]) -> None:
    if not isinstance(messages, Sequence) or not messages:
        raise PromptError(f"a prompt is text or a list of messages, not {messages!r}")
    for message in messages:
        if not isinstance(message, Mapping) or set(message) != {"role", "content"}:
            several = "; for several texts, use generate_batch" if isinstance(message, str) else ""
            raise PromptError(f"a message has role and content, not {message!r}{several}")
    if messages[-1]["role"] == "assistant":
        raise PromptError("the last message is the assistant's; end with the user's")


def _checked(model: LanguageModel, prompt: Prompt) -> Prompt:
    if not prompt.ids:
        raise PromptError(f"no token is left of the prompt {prompt.text!r}")
    model.check_ids(prompt.ids)
    model.check_length(len(prompt.ids))
    return prompt
