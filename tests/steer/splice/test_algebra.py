"""Random interventions of every kind against `tests.support.reference`, a batch at a time."""

from __future__ import annotations

import os
import random
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

import steer
from tests.support import reference
from tests.support.random_edits import by_row, random_intervention
from tests.support.tiny import (
    EOS,
    FAMILIES,
    PROMPTS,
    dictionary,
    plain_model,
    tiny_model,
    tokenizer,
)

COUNT = int(os.environ.get("STEER_RANDOM_INTERVENTIONS", "40"))
"""Random interventions a family; 500 takes some minutes."""

BATCH = 20
WATCHED = (7, 31, 90)
"""Tokens whose log-probability at the last step is compared as well."""

TOLERANCE = 2e-5
"""In nats: what fp32 rounding may add up to."""

ALONE = 8 if COUNT < 500 else 2
"""Of so many interventions, one is also run alone, and one streamed."""


@pytest.mark.parametrize("family", FAMILIES)
def test_random_interventions_in_every_way_of_running_equal_plain_python(family: str) -> None:
    """In one batch with and without a cache; and each by itself, streamed or not."""
    rng = random.Random(FAMILIES.index(family))
    model, given = tiny_model(family), dictionary("resid_post.1")
    interventions = [random_intervention(rng) for _ in range(COUNT)]
    batched = [
        replace(each, edits=[by_row(rng, edit, *_place(number)) for edit in each.edits])
        for number, each in enumerate(interventions)
    ]
    prompts = [rng.choice(PROMPTS) for _ in interventions]
    special = set(tokenizer().all_special_ids)
    options: dict[str, Any] = {
        "max_new_tokens": 4, "temperature": 0, "dictionaries": [given], "if_silent": "ignore",
        "watch": WATCHED,
    }  # fmt: skip
    far = apart = 0.0
    for start in range(0, COUNT, BATCH):
        part = slice(start, start + BATCH)
        cached, uncached = (
            model.generate_batch(prompts[part], batched[part], use_cache=use, **options)
            for use in (True, False)
        )
        for number, run in enumerate(cached, start=start):
            prompt, intervention = prompts[number], interventions[number]
            ids = tokenizer()(prompt)["input_ids"]
            wanted, last = reference.greedy(
                plain_model(family), family, ids, 4, [batched[number]], [given], special, EOS,
                row=number - start,
            )  # fmt: skip
            assert list(run.ids) == wanted, intervention
            assert run.interventions == (intervention,)
            expected = last.log_softmax(-1)[list(WATCHED)]
            far = max(far, (_last(run) - expected).abs().max().item())
            others = [uncached[number - start]]
            if number % ALONE == 0:
                others.append(model.generate(prompt, intervention, **options))
            if number % ALONE == 1:
                others.append(model.stream(prompt, intervention, **options).result())
            for other in others:
                assert other.ids == run.ids, intervention
                apart = max(apart, (_last(other) - _last(run)).abs().max().item())
                assert other.baseline == run.baseline, intervention
                assert _acted(other) == _acted(run), intervention
    print(f"{family}: {COUNT} interventions, {far:.1e} nats from plain Python, {apart:.1e} apart")
    assert max(far, apart) <= TOLERANCE


def _place(number: int) -> tuple[int, int]:
    """Which row of its batch an intervention is, and of how many."""
    return number % BATCH, min(BATCH, COUNT - number // BATCH * BATCH)


def _last(run: steer.Run) -> Tensor:
    """Log-probabilities of the watched tokens at the last step, [3]."""
    return torch.tensor([watched.edited[-1] for watched in run.logprobs])


def _acted(run: steer.Run) -> list[tuple[int, ...]]:
    return [entry.acted_tokens for entry in run.receipt]
