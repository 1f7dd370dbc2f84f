"""Measure: doses, intervals, and controls that are as large as the edit, token by token."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
import torch

from apps.playground.measure import controls, results
from apps.playground.measure import measure as m
from apps.playground.measure.view import measured_view
from apps.playground.state.setup import Row, Setup
from apps.playground.studio.studio import Shelf, Studio
from steer import Ablate, Add, Clamp, Scale, SteerError, logit_effect
from steer.edits import Edit, Intervention, Patch, ProjectOut
from steer.edits.directions import Random
from tests.support import tiny


@pytest.fixture
def studio() -> Studio:
    model = tiny.tiny_model("llama")
    return Studio(model, Shelf(model, [], [tiny.dictionary()]))


def test_dosed() -> None:
    assert controls.dosed(Clamp(1, "4x max"), 0.5) == Clamp(1, "2x max")
    assert controls.dosed(Add(1, 3.0, positions="last"), 2) == Add(1, 6.0, positions="last")
    assert controls.dosed(Scale(1, 3.0), 0.5) == Scale(1, 2.0)
    assert controls.dosed(Ablate(1), 0.25) == Scale(1, 0.75)
    assert controls.dosed(Ablate(1), 1) == Ablate(1)
    for edit in (Patch(1, "w3"), ProjectOut(Random(0))):
        with pytest.raises(SteerError, match="no dose"):
            controls.dosed(edit, 0.5)


def test_interval() -> None:
    bounds = results.interval([1.0, 2.0, 3.0, 4.0])
    assert bounds.mean == 2.5
    assert bounds.low is not None
    assert bounds.high is not None
    assert 1 <= bounds.low < 2.5 < bounds.high <= 4
    assert results.interval([1.0, 2.0, 3.0, 4.0]) == bounds
    assert results.interval([3.0]) == results.Interval(3.0, None, None, 1)


def test_a_control_is_as_large_as_the_edit(studio: Studio) -> None:
    """Read from the receipt of the control's own run."""
    setup = Setup(tiny.PROMPT, rows=(Row("tiny", Clamp(5, "2x max", positions="1:4")),))
    entry = studio.run(setup).receipt[0]
    site = studio.model.site_of(studio.shelf["tiny"])
    control = Intervention(site, controls.matched(entry, Random(0)))
    run = studio.model.generate(tiny.PROMPT, control, max_new_tokens=2)
    doses = [each.tokens[0].relative_dose for each in run.receipt]
    assert doses == pytest.approx([token.relative_dose for token in entry.tokens], rel=1e-4)
    places = [each.tokens[0].position for each in run.receipt]
    assert places == list(entry.acted_tokens)


def test_edits_of_one_feature_are_measured_as_what_they_add_up_to(studio: Studio) -> None:
    def measured(*edits: Edit) -> dict[str, float]:
        rows = tuple(Row("tiny", edit) for edit in edits)
        setup = Setup(tiny.PROMPT, rows=rows, max_new_tokens=2, in_order=True)
        result = m.measure(studio, setup, tiny.PROMPTS)
        return {name.split(" (")[0]: value.mean for name, value in result.kl}

    twice = measured(Add(5, 2.0), Add(5, 3.0))
    assert twice == pytest.approx(measured(Add(5, 5.0)), rel=1e-3)
    assert len(twice) == 5


def test_no_two_features_have_one_control(studio: Studio) -> None:
    """All are of one density, so that each would have the same neighbour."""
    dictionary = studio.shelf["tiny"]
    assert dictionary.statistics is not None
    density = torch.full_like(dictionary.statistics.density, 0.1)
    alike = replace(dictionary, statistics=replace(dictionary.statistics, density=density))
    studio = Studio(studio.model, Shelf(studio.model, [], [alike]))
    edited = [("tiny", feature) for feature in (5, 6, 7)]
    others = controls.similar_features(studio, [*edited, edited[0]])
    assert list(others) == edited
    assert len(set(others.values()) - {5, 6, 7}) == 3
    rows = tuple(Row("tiny", Add(feature, 2.0)) for _, feature in edited)
    m.measure(studio, Setup(tiny.PROMPT, rows=rows, max_new_tokens=2), tiny.PROMPTS)


def test_similar_points_elsewhere(studio: Studio) -> None:
    dictionary = studio.shelf["tiny"]
    other = controls.similar(studio, "tiny", 5, {5})
    assert other != 5
    assert abs(float(dictionary.W_dec[5] @ dictionary.W_dec[other])) <= 0.2


def test_a_control_says_how_near_it_is(studio: Studio) -> None:
    setup = Setup(tiny.PROMPT, rows=(Row("tiny", Clamp(5, "2x max")), Row("tiny", Ablate(9))))
    name = next(iter(controls.controls_of(studio, setup)))
    statistics = studio.shelf["tiny"].statistics
    assert statistics is not None
    assert f"#5 on {statistics.density[5]:.2%}" in name
    assert f"#9 on {statistics.density[9]:.2%}" in name


def test_everything_is_measured(studio: Studio) -> None:
    rows = (Row("tiny", Clamp(5, "2x max")), Row("tiny", Ablate(9), muted=True))
    setup = Setup(tiny.PROMPT, rows=rows, max_new_tokens=6)
    first, *_, found = m.course(studio, setup, tiny.PROMPTS, "w5, w6", "w7")
    assert (first.prompts, first.coming, first.curves) == (1, "the first of 3 prompts", ())
    assert first.promoted
    assert "data-partial" in measured_view(first)
    assert found == m.measure(studio, setup, tiny.PROMPTS, "w5, w6", "w7")
    assert next(name for name, _ in found.kl) == "the edit"
    (edits,), used = setup.interventions(), studio.shelf.used(setup)
    exact = logit_effect(studio.model, tiny.PROMPTS, edits, dictionaries=used)
    assert exact.controls is not None
    frame = exact.controls.to_frame().set_index("control")
    for name, control in (("sign turned", "sign turned"), ("in another block", "wrong site")):
        assert dict(found.kl)[name].mean == pytest.approx(frame.effect[control], rel=1e-4)
    assert len(found.kl) == 5
    tokens = [studio.model.token_id(f" w{number}") for number in (5, 6, 7)]
    w5, w6, w7 = exact.delta_logit[:, tokens].double().T
    moves = (w5 + w6) / 2 - w7
    against = (moves.sign() != moves.mean().sign()).double().mean().item()
    assert found.wrong_way == pytest.approx(against)
    assert "of the prompts moved it the other way" in measured_view(found)
    assert found.promoted[0].change.mean > 0 > found.suppressed[0].change.mean
    clean, edited, change = (value.mean for _, value in found.difference)
    assert change == pytest.approx(edited - clean, abs=1e-4)
    assert [curve.shares for curve in found.curves] == [m.SHARES] * 3
    assert len(found.along) == 2
    html = measured_view(found)
    assert html.count("<svg") == 3
    assert "3 prompts" in html
    assert "data-partial" not in html


def test_numbers_come_one_after_another(studio: Studio) -> None:
    """Each time there is more, and nothing that was there changes."""
    setup = Setup(tiny.PROMPT, rows=(Row("tiny", Clamp(5, "2x max")),), max_new_tokens=6)
    _, *later = m.course(studio, setup, tiny.PROMPTS)
    assert [len(each.curves[0].shares) for each in later if each.curves][:5] == [1, 2, 3, 4, 5]
    assert [len(each.along) for each in later][-3:] == [1, 2, 2]
    for before, after in pairwise(later):
        assert before.promoted == after.promoted
        assert set(before.kl) <= set(after.kl)
        for one, other in zip(before.curves, after.curves, strict=False):
            assert set(zip(one.shares, one.kl)) <= set(zip(other.shares, other.kl))  # noqa: B905


def test_kl_at_the_last_token_agrees_with_kl_along(studio: Studio) -> None:
    setup = Setup(tiny.PROMPT, rows=(Row("tiny", Clamp(5, "2x max")),), max_new_tokens=4)
    along = m._kl_along(studio, setup, "t", studio.read(setup).ids, 6)
    effect = m._effect(studio, setup, [tiny.PROMPT], setup.interventions(), 4)
    assert along.kl[-1] == pytest.approx(effect.kl.item(), rel=1e-3)


@pytest.mark.parametrize(
    ("prompts", "rows", "more", "says"),
    [
        ("", True, "", "no prompt"),
        ("w3\n" * 100, True, "", "too many"),
        ("w3 w4", False, "", "nothing to measure"),
        ("w3 w4", True, "w5", "both sides"),
        ("w3 w4", True, "w5 w6", "tokens"),
    ],
)
def test_what_is_missing_is_a_sentence(
    studio: Studio, prompts: str, rows: bool, more: str, says: str
) -> None:
    setup = Setup("w3 w4", rows=(Row("tiny", Clamp(5, "2x max")),) if rows else ())
    with pytest.raises(SteerError, match=says):
        m.measure(studio, setup, m.read_prompts(prompts), more)
