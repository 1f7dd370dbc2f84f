"""On a tiny model: a feature that writes the concept's words is chosen, within the budget."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest
import torch

import steer
from dictionaries.architectures import ReLU
from dictionaries.dictionary import DictionaryConfig
from steer.concepts import trials
from steer.concepts.candidates import Candidate
from steer.concepts.dose import CAUTION, DOSES, FIRST, VARIED, choose
from steer.concepts.judge import Judge
from steer.concepts.trials import Unsteered
from tests.steer.concepts.planted import embed
from tests.support import tiny

WORDS = tuple(f"w{number}" for number in range(40, 64))
PLANTED, CONTROL = 0, 1
PROMPTS = ("w7 w31 w12", "w20 w3 w9", "w71 w80 w14 w15", "w5 w6", "w90 w8 w22")


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STEER_CACHE", str(tmp_path))


@cache
def model() -> steer.Model:
    return tiny.tiny_model("llama")


@cache
def dictionary() -> ReLU:
    """The planted feature writes what the unembedding reads as the concept's words."""
    head = model().module.lm_head.weight.detach()
    g = torch.Generator().manual_seed(2)
    rows = torch.randn(6, tiny.D, generator=g)
    about = [model().token_id(word) for word in WORDS]
    rows[PLANTED] = head[about].mean(0) - head.mean(0)
    rows = torch.nn.functional.normalize(rows, dim=1)
    return ReLU(
        W_enc=rows.T.contiguous(),
        W_dec=rows,
        b_enc=torch.zeros(6),
        b_dec=torch.zeros(tiny.D),
        config=DictionaryConfig(hookpoint="resid_post.2", d_in=tiny.D, width=6),
        name="planted",
    )


def candidate(feature: int) -> Candidate:
    return Candidate(f"feature {feature}", (feature,), (1.0,))


def plain() -> Unsteered:
    return trials.unsteered(model(), trials.places(model(), PROMPTS, (0,), 0))


def words() -> Judge:
    """A text is about it if most of its words are the concept's."""
    direction = embed(list(WORDS)).sum(0)
    return Judge(embed, direction, 2.0, 1.0, WORDS, 1.0, 1.0)


@pytest.mark.parametrize("order", [(PLANTED, CONTROL), (CONTROL, PLANTED)])
def test_the_planted_feature_is_chosen(order: tuple[int, ...]) -> None:
    sets = [candidate(feature) for feature in order]
    choice = choose(model(), dictionary(), sets, plain(), words(), norm=40.0, budget=20.0)
    assert choice.chosen is not None
    assert choice.chosen.candidate.features == (PLANTED,)
    assert len(choice.tried) == 2 + 2 * len(DOSES)
    assert [each.dose for each in choice.course] == sorted((FIRST, *DOSES))
    baseline = trials.of_unsteered(plain(), words())
    assert choice.chosen.trial.on_topic.mean() > baseline.on_topic.mean() + 0.3


@pytest.mark.parametrize("budget", [1e-3, 0.1, 0.5, 2.0])
def test_the_dose_stays_within_the_budget(budget: float) -> None:
    sets = [candidate(PLANTED), candidate(CONTROL)]
    chosen = choose(model(), dictionary(), sets, plain(), words(), 10.0, budget).chosen
    if chosen is not None:
        assert chosen.dose in (FIRST, *DOSES)
        assert chosen.trial.loss_increase.mean() <= CAUTION * budget
        assert chosen.trial.variety.mean() >= VARIED


def test_some_budget_is_too_small() -> None:
    strong = [candidate(PLANTED)]
    assert choose(model(), dictionary(), strong, plain(), words(), 1000.0, 1e-3).chosen is None


def test_choosing_and_reporting_share_neither_prompts_nor_luck() -> None:
    assert not set(trials.CHOOSING) & set(trials.REPORTING)
    halves = [
        trials.places(model(), prompts, seeds, seed)
        for seed in (0, 1)
        for prompts, seeds in (
            (trials.CHOOSING, trials.CHOOSING_SEEDS),
            (trials.REPORTING, trials.REPORTING_SEEDS),
        )
    ]
    luck = [place.seed for half in halves for place in half]
    assert len(luck) == len(set(luck)) == 2 * (6 + 16)
