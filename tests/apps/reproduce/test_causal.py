"""The causal experiments on tiny random models: their laws, and that they run from end to end."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

import steer
from apps.reproduce.e5_attribution import experiment as e5
from apps.reproduce.e5_attribution import table as agreement_table
from apps.reproduce.e6_dose import experiment as e6
from apps.reproduce.e6_dose.dosed import Dosed, balanced, crossing
from apps.reproduce.e6_dose.table import tabulate
from apps.reproduce.e9_side_effects import spillover
from apps.reproduce.e9_side_effects import table as side_effect_table
from apps.reproduce.e9_side_effects.single_latents import (
    Ablated,
    ablate_each,
    often,
    variance_shares,
)
from apps.reproduce.shared import bases
from apps.studies.ioi_prompts import Pair, accuracy
from dictionaries.dictionary import Dictionary
from steer.effects.metric import LogProbability
from steer.maths import metrics
from steer.splice import passes
from tests.support import tiny

PAIRS = [
    Pair("w7 w31 w12 w55", "w5", "w6", "w7 w32 w12 w55", "w8"),
    Pair("w9 w3 w12 w4", "w5", "w6", "w9 w40 w12 w4", "w8"),
]


def logits(model: steer.Model, prompt: str, edits: list[steer.Edit]) -> torch.Tensor:
    """Logits [s, V] of a whole forward pass under edits of the tiny dictionary."""
    dictionary = tiny.dictionary()
    plans = model.plans([steer.Intervention("tiny", edits)], [dictionary]) if edits else []
    ids, mask = model.tokenize([prompt])
    return passes.logits(model.nn, ids, model.span(ids, mask), plans)[0][0]


# -- indirect objects ------------------------------------------------------------------------------


def test_accuracy_counts_prompts_of_both_kinds(llama: steer.Model) -> None:
    right = [
        logits(llama, prompt, [])[-1, int(answer[1:])] > logits(llama, prompt, [])[-1, 6]
        for pair in PAIRS
        for prompt, answer in ((pair.prompt, pair.answer), (pair.other, pair.other_answer))
    ]
    assert accuracy(llama, PAIRS, batch=3) == sum(map(bool, right)) / 4


# -- E5 --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def agreement() -> list[agreement_table.Found]:
    model, agreements = tiny.tiny_model("llama"), []
    for number, prompt in enumerate(tiny.PROMPTS):
        case = e5.Case("text", prompt, LogProbability("w5"))
        agreements += e5.agreements(model, tiny.dictionary(), case, number, 0)
    return agreements


def test_attribution_agrees_better_than_chance(agreement: list[agreement_table.Found]) -> None:
    def mean(estimate: str) -> float:
        values = [each.pearson for each in agreement if each.estimate == estimate]
        return sum(values) / len(values)

    assert mean("atp") > 0.8
    assert mean("atp") > abs(mean("shuffled")) + 0.3


def test_the_direct_path_is_exact_at_the_last_site(llama: steer.Model) -> None:
    """After the last block only the final norm is left, so up to it the estimate is right."""
    dictionary = tiny.dictionary("resid_post.2")
    case = e5.Case("text", tiny.PROMPT, LogProbability("w5"))
    by_estimate = {each.estimate: each for each in e5.agreements(llama, dictionary, case, 0, 0)}
    assert by_estimate["direct"].pearson > 0.9
    assert by_estimate["direct"].pearson > by_estimate["direct_everywhere"].pearson


def test_the_table_of_e5(agreement: list[agreement_table.Found]) -> None:
    table = agreement_table.tabulate(agreement, 0)
    assert [row["estimate"] for row in table.rows] == list(agreement_table.ESTIMATES)
    assert all(row["n"] == 3 for row in table.rows)
    assert len(table.claims) == 5
    assert len(agreement_table.figure(table).data) == len(agreement_table.ESTIMATES)


# -- E6 --------------------------------------------------------------------------------------------


@pytest.fixture
def dosed(llama: steer.Model) -> list[Dosed]:
    dictionary, figures = tiny.dictionary(), []
    for feature in (3, 4, 5):
        figures += e6.read(llama, dictionary, feature, tiny.PROMPTS[:2], "listed")
        figures += e6.write(llama, dictionary, feature, r"w\d", ["w7 w31"], "listed")
    return figures


def test_doses_are_what_the_clamp_does(llama: steer.Model) -> None:
    dictionary = tiny.dictionary()
    assert dictionary.statistics is not None
    (twice_max,) = [
        each
        for each in e6.read(llama, dictionary, 4, [tiny.PROMPT], "listed")
        if each.multiple == 2
    ]
    edited = logits(llama, tiny.PROMPT, [steer.Clamp(4, "2x max", positions="1:")])
    clean = logits(llama, tiny.PROMPT, [])
    assert twice_max.figures["kl"] == pytest.approx(
        metrics.kl(clean[-1], edited[-1]).item(), abs=1e-5
    )
    ids = llama.tokenize([tiny.PROMPT])[0]
    loss = [metrics.cross_entropy(each[None], ids).mean().item() for each in (clean, edited)]
    assert twice_max.figures["delta_ce"] == pytest.approx(loss[1] - loss[0], abs=1e-5)


def test_the_table_of_e6_has_the_unsteered_row_first(dosed: list[Dosed]) -> None:
    table = tabulate(dosed, 0)
    assert [row["dose"] for row in table.rows][:2] == ["none", "-10x max"]
    unsteered = table.rows[0]
    assert unsteered["n"] == 3
    assert unsteered["relative_dose"] is None
    assert all(math.isfinite(float(unsteered[name] or 0)) for name in ("concept", "loss"))
    assert len(e6.MULTIPLES) + 2 == len(table.rows)
    assert len(table.claims) >= 3


def test_a_text_of_its_own_concept_is_all_concept() -> None:
    assert e6._share('"Older, and taller."', e6.CONCEPTS[1176] + "|and") == 1
    assert e6._share("the bridge", e6.CONCEPTS[1176]) == 0
    assert e6._share("", "x") == 0


def test_crossing_interpolates_from_no_dose() -> None:
    assert crossing([(1, 0.25), (2, 0.75)]) == pytest.approx(1.5)
    assert crossing([(2, 1.0)]) == pytest.approx(1.0)
    assert crossing([(1, 0.1), (5, 0.2)]) is None


def test_balance_needs_both_concept_and_fluency() -> None:
    def text(dose: str, multiple: float, concept: float, loss: float) -> Dosed:
        return Dosed("listed", 1, dose, multiple, {"concept": concept, "loss": loss})

    with_balance = balanced([text("none", 0, 0, 2), text("1x", 1, 0.5, 2), text("9x", 9, 1, 30)])
    values = [each.figures["balance"] for each in with_balance]
    assert values[0] == 0
    assert values[1] == pytest.approx(2 / 3)
    assert values[2] == pytest.approx(0, abs=1e-6)


# -- E9 --------------------------------------------------------------------------------------------


def test_each_ablation_is_the_edit_alone(family: str) -> None:
    model, dictionary = tiny.tiny_model(family), tiny.dictionary()
    ablated = ablate_each(model, tiny.PROMPTS, [dictionary])
    assert {each.position for each in ablated} == {0, 1, 2}
    for each in ablated[::7]:
        prompt = tiny.PROMPTS[each.position]
        edited = logits(model, prompt, [steer.Ablate(each.feature, positions="last")])
        expected = metrics.kl(logits(model, prompt, [])[-1], edited[-1]).item()
        assert each.kl == pytest.approx(expected, abs=1e-5)


def made_up(token: float, feature: float, rest: float) -> list[Ablated]:
    """40 features at 30 tokens, with log₁₀ KL a sum of three normal parts of these deviations."""
    generator = torch.Generator().manual_seed(0)
    by_token, by_feature, noise = (
        torch.randn(*shape, generator=generator, dtype=torch.float64) * scale
        for shape, scale in (((30,), token), ((40,), feature), ((30, 40), rest))
    )
    kl = 10 ** (by_token[:, None] + by_feature + noise - 2)
    return [Ablated("x", p, f, kl[p, f].item(), 1.0) for p in range(30) for f in range(40)]


@pytest.mark.parametrize(("token", "feature", "rest"), [(1, 0.3, 0.3), (0.2, 1, 0.4), (0, 0, 1)])
def test_variance_shares_are_those_of_the_model(token: float, feature: float, rest: float) -> None:
    total = token**2 + feature**2 + rest**2
    shares = variance_shares(made_up(token, feature, rest), lambda each: each.kl)
    for share, expected in zip(shares, (token**2 / total, feature**2 / total), strict=True):
        assert share.value == pytest.approx(expected, abs=0.2)
        assert share.low <= share.value <= share.high


def test_features_seen_at_few_tokens_are_left_out() -> None:
    rows = [Ablated("x", p, 1, 0.1, 1.0) for p in range(5)]
    assert often([*rows, Ablated("x", 0, 2, 0.1, 1.0)]) == rows


def test_baselines_keep_as_many_features_as_the_trained_one() -> None:
    x = torch.randn(200, tiny.D, generator=torch.Generator().manual_seed(0)) + 1
    trained = tiny.dictionary()
    for baseline in bases.baselines(trained, x, 8):
        features = baseline.encode(x)[0]
        assert ((features != 0).sum(-1) == 8).all()
        assert baseline.config.hookpoint == trained.config.hookpoint


@pytest.mark.parametrize("make", [bases.random_rows, bases.shuffled_rows])
def test_other_rows_make_edits_of_the_same_size(
    llama: steer.Model, make: Callable[[Dictionary], Dictionary]
) -> None:
    trained = tiny.dictionary()
    one, other = (ablate_each(llama, tiny.PROMPTS, [d]) for d in (trained, make(trained)))
    assert [each.feature for each in one] == [each.feature for each in other]
    for ours, theirs in zip(one, other, strict=True):
        assert ours.norm == pytest.approx(theirs.norm, rel=1e-5)
        assert ours.kl != theirs.kl


def test_random_and_matched_edits_are_of_the_same_size(llama: steer.Model) -> None:
    spilled = spillover.spillover(llama, tiny.dictionary(), 4, tiny.PROMPTS, PAIRS, draws=2)
    assert [each.control for each in spilled] == list(spillover.CONTROLS)
    assert len({round(each.norm, 4) for each in spilled}) == 1
    assert all(0 <= each.ioi <= 1 for each in spilled)


def test_an_edit_that_changes_nothing_has_no_side_effect(llama: steer.Model) -> None:
    """A feature that reads and writes nothing, clamped to 0."""
    given = tiny.dictionary()
    silent = replace(given, W_enc=given.W_enc.clone().index_fill_(1, torch.tensor([4]), 0.0))
    silent = replace(silent, b_enc=silent.b_enc.clone().index_fill_(0, torch.tensor([4]), -1.0))
    spilled = spillover.spillover(llama, silent, 4, tiny.PROMPTS, PAIRS, value=0.0, draws=2)
    for each in spilled:
        assert (each.kl, each.delta_ce) == pytest.approx((0, 0), abs=1e-5)
        assert each.top1 == each.norm == 0


def test_the_table_of_e9(llama: steer.Model) -> None:
    x = torch.randn(200, tiny.D, generator=torch.Generator().manual_seed(0))
    trained = tiny.dictionary()
    compared = [trained, *bases.baselines(trained, x, 8), bases.random_rows(trained)]
    texts = [f"w{i} w{i + 9} w{i + 20}" for i in range(3, 11)]
    ablated = ablate_each(llama, texts, compared)
    spilled = [
        each
        for feature in (3, 4, 5)
        for each in spillover.spillover(llama, trained, feature, texts[:2], PAIRS, draws=2)
    ]
    table = side_effect_table.tabulate(ablated, spilled, [each.name for each in compared], 0)
    assert len(table.rows) == len(compared) + len(spillover.CONTROLS)
    assert table.rows[0]["feature"] is not None
    assert len(table.claims) == len(compared) + 3
    assert len(side_effect_table.figure(table).data) == 2
