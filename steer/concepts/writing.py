"""Many short texts at once: rows of one batch, each with its own edit and its own luck."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from dictionaries.dictionary import Dictionary
from steer.edits import Intervention
from steer.lm.continuations import Continuation
from steer.lm.prompts import Prompt
from steer.runs import fluency
from steer.splice import passes
from steer.splice.plan import SitePlan

if TYPE_CHECKING:
    from steer.model import Model

TEMPERATURE = 0.5
"""Of all that is measured: steered text is written a little below what is usual, as it strays."""
ROWS = 64
"""Most rows of a batch: more are no faster on a CPU."""


@dataclass(frozen=True)
class Row:
    """What to write. edit: None for the untouched model."""

    prompt: Prompt
    seed: int
    edit: Intervention | None = None


@dataclass(frozen=True)
class Written:
    """A continuation, without its prompt. ids: its tokens, without what ends a text."""

    text: str
    ids: tuple[int, ...]


def write(
    model: Model,
    rows: Sequence[Row],
    tokens: int,
    dictionary: Dictionary | None = None,
    temperature: float = TEMPERATURE,
) -> list[Written]:
    """A continuation of each row; a row comes out as it would alone with its seed, up to rounding.

    The edits act on every token where their positions say, in the prompt and after it.
    """
    written: list[Written] = []
    for start in range(0, len(rows), ROWS):
        written += _batch(model, rows[start : start + ROWS], tokens, dictionary, temperature)
    return written


def _batch(
    model: Model,
    rows: Sequence[Row],
    tokens: int,
    dictionary: Dictionary | None,
    temperature: float,
) -> list[Written]:
    ids, mask = model.pad([row.prompt.ids for row in rows])
    options: dict[str, Any] = {
        "do_sample": False,
        "repetition_penalty": 1.0,
        "logits_processor": [_NoiseBySeed([row.seed for row in rows], temperature)],
        "max_new_tokens": tokens,
        "pad_token_id": model.tokenizer.pad_token_id,
        "return_dict_in_generate": True,
    }
    plans = _plans(model, rows, dictionary)
    with model.lock:
        result, _ = passes.generate(model.nn, ids, model.span(ids, mask), plans, options)
    return [_written(model, row[ids.shape[1] :].tolist()) for row in result.sequences]


def _plans(model: Model, rows: Sequence[Row], dictionary: Dictionary | None) -> list[SitePlan]:
    """One plan for neighbours with the same edit."""
    plans: list[SitePlan] = []
    given = () if dictionary is None else (dictionary,)
    for edit, members in groupby(enumerate(rows), key=lambda pair: pair[1].edit):
        places = [place for place, _ in members]
        if edit is not None:
            plans += model.plans([edit], given, rows=slice(places[0], places[-1] + 1))
    return plans


def _written(model: Model, ids: list[int]) -> Written:
    special = set(model.tokenizer.all_special_ids)
    end = next((place for place, token in enumerate(ids) if token in special), len(ids))
    ended = ids[:end]
    return Written(model.tokenizer.decode(ended, skip_special_tokens=True), tuple(ended))


class _NoiseBySeed:
    """argmax of p / q with q ~ Exp(1) samples from p; rows of one seed share q, as in a `Run`."""

    def __init__(self, seeds: Sequence[int], temperature: float) -> None:
        self.temperature = temperature
        self.generators = {seed: torch.Generator().manual_seed(seed) for seed in seeds}
        self.places = torch.tensor([list(self.generators).index(seed) for seed in seeds])

    def __call__(self, ids: Tensor, scores: Tensor) -> Tensor:
        noise = torch.stack(
            [
                torch.empty(scores.shape[-1]).exponential_(1, generator=generator)
                for generator in self.generators.values()
            ]
        ).to(scores.device)
        return (scores.float() / self.temperature).softmax(-1) / noise[
            self.places.to(scores.device)
        ]


@torch.inference_mode()
def losses(model: Model, prompts: Sequence[Prompt], texts: Sequence[Written]) -> Tensor:
    """Mean loss [n] of each text's tokens after its prompt under the untouched model, nats a token.

    NaN for a text without tokens.
    """
    values = torch.full((len(texts),), torch.nan, dtype=torch.float64)
    places = [place for place, text in enumerate(texts) if text.ids]
    if places:
        continuations = [Continuation(prompts[place].ids, texts[place].ids) for place in places]
        values[places] = fluency.losses(model, continuations)
    return values


def variety(texts: Sequence[Written]) -> Tensor:
    """Share [n] of each text's token pairs that are different from each other."""
    return torch.tensor([fluency.distinct_pairs(text.ids) for text in texts], dtype=torch.float64)
