"""Sampling that gives every row of a batch the same luck.

Baseline and edited text are decoded in one batch. If each row drew its own random numbers they
would part at once, edit or no edit. So each step draws one vector of noise for all rows, in the
way `torch.multinomial` does for a single row: a row's text is exactly what transformers' generate
samples for it alone with the same seed, and an edit that does nothing gives the baseline verbatim.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import torch
from torch import Tensor

from steer.errors import SteerError
from steer.maths.numbers import check_number, check_whole

OnStep = Callable[[Tensor], bool | None]
"""Called after every token with ids [b, so far]; return True to stop."""

GENERATE_OPTIONS = (
    "bad_words_ids",
    "begin_suppress_tokens",
    "exponential_decay_length_penalty",
    "min_new_tokens",
    "no_repeat_ngram_size",
    "sequence_bias",
    "suppress_tokens",
    "use_cache",
)
"""Options of transformers' generate that act whatever draws the token."""


_LEAST = 1e-6
"""What a logit is divided by at least: by far less it would be infinite, and the token any."""


@dataclass(frozen=True)
class Sampling:
    """How tokens are chosen.

    temperature: 0 takes the likeliest token.
    top_p, top_k, min_p: keep the likeliest tokens of this total probability, this many, or those
        at least this likely relative to the likeliest; None keeps all.
    repetition_penalty: 1 is none (Keskar et al. 2019).
    seed: of the noise; unused at temperature 0.
    options: further options of transformers' generate, of `GENERATE_OPTIONS`.
    """

    temperature: float = 0.7
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    repetition_penalty: float = 1.0
    seed: int = 0
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("temperature", "top_p", "min_p", "repetition_penalty"):
            check_number(name, getattr(self, name), optional=name.endswith("_p"))
        check_whole("seed", self.seed)
        check_whole("top_k", self.top_k, optional=True)
        checks = {
            "temperature": (
                self.temperature == 0 or self.temperature >= _LEAST,
                f"0 or more, and from {_LEAST:g} where it is not 0",
            ),
            "top_p": (self.top_p is None or 0 < self.top_p <= 1, "above 0 and at most 1"),
            "top_k": (self.top_k is None or self.top_k >= 1, "1 or more"),
            "min_p": (self.min_p is None or 0 <= self.min_p <= 1, "0 to 1"),
            "repetition_penalty": (
                _LEAST <= self.repetition_penalty <= 1 / _LEAST,
                f"above 0: {_LEAST:g} to {1 / _LEAST:g}",
            ),
        }
        for name, (fine, allowed) in checks.items():
            if not fine:
                value = getattr(self, name)
                raise SteerError(f"{name}={value!r} is not allowed: it must be {allowed}")
        if unknown := sorted(set(self.options) - set(GENERATE_OPTIONS)):
            raise SteerError(
                f"option {', '.join(unknown)} is not allowed, since it would not act as asked "
                f"here; allowed: temperature, top_p, top_k, min_p, repetition_penalty, seed, "
                f"{', '.join(GENERATE_OPTIONS)}"
            )

    def generate_options(self, on_step: OnStep | None = None) -> dict[str, Any]:
        """Arguments of transformers' generate."""
        from transformers import LogitsProcessorList, StoppingCriteriaList

        options: dict[str, Any] = {
            **self.options,
            "do_sample": False,
            "repetition_penalty": self.repetition_penalty,
            "logits_processor": LogitsProcessorList(self._processors()),
        }
        if on_step:
            options["stopping_criteria"] = StoppingCriteriaList([_Listener(on_step)])
        return options

    def _processors(self) -> list[Any]:
        from transformers import (
            MinPLogitsWarper,
            TemperatureLogitsWarper,
            TopKLogitsWarper,
            TopPLogitsWarper,
        )

        if self.temperature == 0:
            return []
        chain: list[Any] = []
        if self.temperature != 1:
            chain.append(TemperatureLogitsWarper(float(self.temperature)))
        if self.top_k:
            chain.append(TopKLogitsWarper(self.top_k))
        if self.top_p and self.top_p < 1:
            chain.append(TopPLogitsWarper(self.top_p))
        if self.min_p:
            chain.append(MinPLogitsWarper(self.min_p))
        return [*chain, _SharedNoise(self.seed)]


def sampling_from(options: Mapping[str, Any]) -> Sampling:
    """From the options of `Model.generate`: what is no field goes on to transformers' generate."""
    own = {option.name for option in fields(Sampling)} - {"options"}
    further = {name: value for name, value in options.items() if name not in own}
    return Sampling(**{n: options[n] for n in own & set(options)}, options=further)


class _SharedNoise:
    """argmax of p / q with q ~ Exp(1) samples from p; one q for all rows."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.generator: torch.Generator | None = None

    def __call__(self, ids: Tensor, scores: Tensor) -> Tensor:
        if self.generator is None:
            self.generator = torch.Generator(scores.device).manual_seed(self.seed)
        probabilities = scores.softmax(dim=-1)
        noise = torch.empty_like(probabilities[:1]).exponential_(1, generator=self.generator)
        return probabilities / noise


class _Listener:
    def __init__(self, on_step: OnStep) -> None:
        self.on_step = on_step

    def __call__(self, ids: Tensor, scores: Tensor, **_: Any) -> Tensor:
        stop = bool(self.on_step(ids))
        return torch.full((len(ids),), stop, dtype=torch.bool, device=ids.device)
