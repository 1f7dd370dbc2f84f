"""E7 on a tiny model: equal cost for every method, and claims that follow the figures."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

import steer
from apps.reproduce.e7_steering import experiment as e7
from apps.reproduce.e7_steering.bench import BUDGET, Bench, Steered, make_bench
from apps.reproduce.e7_steering.concepts import CONCEPTS, Concept
from apps.reproduce.e7_steering.filter import Filter
from apps.reproduce.e7_steering.methods import RANDOMS, concept_directions, methods_of, unrelated
from apps.reproduce.e7_steering.table import COLUMNS, claims, filter_rows, method_rows
from apps.reproduce.settings import Settings
from steer.evals.steering.judges import Mentions
from steer.evals.steering.matched_doses import MatchedDose, delta_ce, match_doses
from steer.evals.steering.score import harmonic_mean
from tests.steer.evals.steering.test_matched_doses import own_words
from tests.support import tiny

ASKED = ("w7 w31 w12", "w55 w40 w9 w8", "w20 w3", "w71 w80 w14 w15")
TINY = (
    Concept("thirties", 5, r"\bw3\d\b", "w31 w32"),
    Concept("forties", 9, r"\bw4\d\b", "w41 w42"),
)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(fast=True, scale=0.4, out=tmp_path, cache=tmp_path)


@pytest.fixture
def bench(settings: Settings, llama: steer.Model) -> Bench:
    texts = [own_words(text) for text in tiny.PROMPTS]
    anything = Mentions(r"w\d", enough=1)
    return make_bench(settings, llama, tiny.dictionary(), texts, anything, ASKED)


def test_the_whole_table(settings: Settings, bench: Bench) -> None:
    table = e7.compare(settings, bench, TINY)
    # As text: an interval over one feature has no bounds, and NaN is not equal to itself.
    assert str(table.rows) == str(e7.compare(settings, bench, TINY).rows)
    assert all(list(row) == list(COLUMNS) for row in table.rows)
    methods = [row for row in table.rows if row["part"] == "methods"]
    for row in methods:
        assert 0 <= float(row["score"] or 0) <= 2
        if row["method"] in ("prompt", "unsteered"):
            assert row["delta CE"] is None
        else:
            assert float(row["delta CE"] or 0) == pytest.approx(BUDGET, rel=0.1)
    names = {row["method"] for row in methods if row["concept"] == "thirties"}
    assert {"difference of means", "random direction", "unrelated feature", "prompt"} <= names
    assert {row["method"] for row in table.rows if row["part"] == "filter"} >= {"unfiltered"}
    assert table.figure is not None
    assert len(table.figure(table).data) == 2


def test_every_edit_at_its_dose_costs_the_budget(bench: Bench) -> None:
    methods = methods_of(bench.dictionary, TINY[0], torch.randn(tiny.D), 0)
    edits = [method.edit for method in methods if method.edit is not None]
    assert len(edits) == 4 + 2 * RANDOMS
    doses = match_doses(bench.neutral, edits, 0.2, start=1.0, dictionaries=[bench.dictionary])
    made = [edit(dose.dose) for edit, dose in zip(edits, doses, strict=True)]
    costs = delta_ce(bench.neutral, made, [bench.dictionary]).mean(1)
    assert torch.allclose(costs, torch.full_like(costs, 0.2), rtol=0.05)


def test_the_difference_of_means_is_over_texts_with_and_without_the_pattern(bench: Bench) -> None:
    (found,) = concept_directions(bench.model, bench.dictionary, TINY[:1], 10, 0).values()
    assert bench.dictionary.statistics is not None
    contexts = bench.dictionary.statistics.contexts.flatten(0, 1)
    order = torch.randperm(len(contexts), generator=torch.Generator().manual_seed(0))
    drawn = contexts[order]
    there = [bool(re.search(r"\bw3\d\b", " ".join(f"w{i}" for i in row))) for row in drawn.tolist()]
    having = drawn[[i for i, h in enumerate(there) if h][:10]]
    lacking = drawn[[i for i, h in enumerate(there) if not h][:10]]
    with torch.no_grad():
        kept: list[Tensor] = []
        layer = tiny.plain_model("llama").model.layers[1]
        handle = layer.register_forward_hook(lambda _, __, out: kept.append(out))
        for part in (having, lacking):
            tiny.plain_model("llama")(part)
        handle.remove()
    expected = kept[0][:, 1:].mean((0, 1)) - kept[1][:, 1:].mean((0, 1))
    assert torch.cosine_similarity(found, expected, dim=0).item() == pytest.approx(1, abs=1e-5)
    rare = Concept("never", 5, "nowhere", "")
    assert concept_directions(bench.model, bench.dictionary, [rare], 10, 0) == {}


def test_unrelated_features_are_alive_others_of_like_density() -> None:
    sae = tiny.dictionary()
    for seed in range(5):
        chosen = unrelated(sae, 7, 3, seed)
        assert len(set(chosen)) == 3
        assert not {0, 7} & set(chosen)


def test_concepts_have_patterns_that_find_what_they_name() -> None:
    shown = {
        "comparatives": "longer than",
        "superlatives": "the largest",
        "but": "But now",
        "spans of time": "two centuries",
        "informal speech": "wow",
        "each, every, per": "per day",
        "problems": "difficulties",
        "focus": "focused",
        "digits": "98",
    }
    for concept in CONCEPTS:
        mentioning = [
            name for name, text in shown.items() if re.search(concept.pattern, text, re.I)
        ]
        assert concept.name in mentioning
        assert re.search(concept.pattern, "the cat sat", re.I) is None
    assert len({concept.feature for concept in CONCEPTS}) == len(CONCEPTS) >= 6


# -- claims ------------------------------------------------------------------------------------


def steered(concept: str, method: str, rating: float, wiggle: float = 0.0) -> Steered:
    ratings = torch.full((4, 2, 3), rating + wiggle, dtype=torch.float64)
    return Steered(concept, method, ratings, MatchedDose(3.0, 0.3))


def planted(feature: float, control: float) -> list[Steered]:
    return [
        each
        for number, concept in enumerate("abcdef")
        for each in (
            steered(concept, "feature: code clamp", feature, 0.01 * number),
            steered(concept, "random direction", control),
            steered(concept, "random direction", control + 0.02),
        )
    ]


def scores(output: Tensor, overall: Tensor) -> Filter:
    nothing = torch.zeros(len(output)).double()
    return Filter(
        tuple(range(len(output))), output, nothing, overall, nothing, nothing, 0, "planted"
    )


def test_claims_follow_the_figures() -> None:
    output = torch.linspace(0, 0.3, 30).double()
    helps = scores(output, (output > 0.1).double() + 0.1)
    useless = scores(output, torch.arange(30).double() % 3)
    first = claims(planted(1.0, 0.5), helps)
    assert first[0].text.endswith("random direction")
    assert first[0].holds
    assert [claim.holds for claim in first[-2:]] == [False, True]
    assert not claims(planted(0.5, 0.5), useless)[0].holds
    # A difference below what judges differ by is not claimed, however sure it is.
    assert not claims(planted(0.55, 0.5), useless)[0].holds
    assert not any(claim.holds for claim in claims(planted(1, 0), useless)[-2:])
    few = scores(output / 100, torch.ones(30).double())
    assert [claim.holds for claim in claims(planted(1, 0), few)[-2:]] == [None, None]


def test_rows_average_what_they_should() -> None:
    rows = method_rows(planted(1.0, 0.5))
    both = {(row["concept"], row["method"]): row for row in rows}
    assert both["a", "random direction"]["score"] == pytest.approx(0.51)
    assert both["all", "random direction"]["score"] == pytest.approx(0.51)
    assert both["all", "feature: code clamp"]["score"] == pytest.approx(1.025)
    assert both["all", "feature: code clamp"]["n"] == 6
    zero = replace(steered("a", "x", 1.0), ratings=torch.tensor([[[2.0, 2.0, 0.0]]]).double())
    assert harmonic_mean(zero.ratings).item() == method_rows([zero])[0]["score"] == 0


def test_filter_rows_compare_with_as_many_at_random() -> None:
    output = torch.linspace(0, 0.3, 30).double()
    rows = {row["method"]: row for row in filter_rows(scores(output, output))}
    kept = int((output >= 0.1).sum())
    assert rows["output score ≥ 0.1"]["n"] == kept
    assert rows[f"random filter of {kept}"]["n"] == kept
    everything, control = rows["unfiltered"]["score"], rows[f"random filter of {kept}"]["score"]
    assert control == pytest.approx(everything, abs=0.005)
    assert float(rows["output score ≥ 0.1"]["low"] or 0) > float(control or 0)
