"""What else moves: the map where it is known what it must say, and what `explain` makes of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

import steer
from dictionaries import catalogue
from dictionaries.beside.behaviours import BehaviourMap
from dictionaries.dictionary import Dictionary
from dictionaries.errors import FormatError
from steer.edits import Edit
from steer.errors import InterventionError
from steer.forecasts.behaviours import (
    digest,
    disturbance,
    fit,
    fit_and_keep,
    moved,
    readable,
    slopes,
    weighted,
)
from steer.forecasts.fit import unit_rows
from steer.runs.forecast import Bounded, Forecast, Moved
from steer.verdicts import panel
from steer.verdicts.panel import Behaviour
from tests.support import tiny

PANEL = (
    Behaviour("left", (("w7 w31 w12 w55", "w5", "w9"), ("w20 w3 w44", "w6", "w8"))),
    Behaviour("right", (("w71 w80 w14", "w15", "w16"),)),
)
TEXT = "w7 w10 w13 w16 w19 w22 w25 w28"
KNOWN = BehaviourMap(
    ("left", "right"),
    torch.randn(2, tiny.D, generator=torch.Generator().manual_seed(1)),
    torch.tensor([-2.0, 0.5]),
    ((-0.5, 0.25), (-50.0, 50.0)),
    tiny.tiny_model("llama").fingerprint,
    digest(PANEL),
)


@pytest.fixture
def saved(tmp_path: Path) -> Dictionary:
    """A dictionary in a folder, with a map of the behaviours beside it."""
    catalogue.save(tiny.dictionary(), tmp_path)
    given = catalogue.load(tmp_path)
    assert given.place is not None
    KNOWN.save(given.place)
    return given


def said(dictionary: Dictionary, *edits: Edit, **more: str) -> Forecast:
    edit = steer.Intervention(dictionary.name, list(edits), **more)  # type: ignore[arg-type]
    model = tiny.tiny_model("llama")
    forecast = model.explain(edit, dictionaries=[dictionary], prompt=TEXT).forecast
    assert forecast is not None
    return forecast


def linear(forecast: Forecast) -> torch.Tensor:
    """What a forecast says without its cost of KL."""
    values = torch.tensor([move.change.value for move in forecast.moves])
    return values - forecast.kl.value * KNOWN.costs


# -- the map ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("site", ["resid_post.0", "resid_post.2", "mlp_out.1"])
def test_small_pushes_do_what_the_slopes_say(site: str) -> None:
    model, given = tiny.tiny_model("llama"), tiny.dictionary(hookpoint=site)
    pushes = unit_rows(given, range(8)) * 1e-2
    exact = moved(model, given, pushes, PANEL)
    torch.testing.assert_close(
        pushes @ slopes(model, given, pushes, PANEL).T, exact, rtol=0.05, atol=2e-5
    )


def test_a_law_of_two_parts_is_found_and_its_forecast_is_the_truth() -> None:
    generator = torch.Generator().manual_seed(0)
    pushes, mean = torch.randn(30, 7, generator=generator), torch.randn(2, 7, generator=generator)
    nats = torch.rand(30, generator=generator) + 0.1
    truth = pushes @ (mean * torch.tensor([[0.7], [1.5]])).T + nats[:, None] * torch.tensor([-2, 1])
    scaled, costs = weighted(pushes, nats, mean, truth)
    behaviour_map = BehaviourMap(("a", "b"), scaled, costs, (), "", "")
    torch.testing.assert_close(behaviour_map.forecast(pushes, nats), truth, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(costs, torch.tensor([-2.0, 1.0]), rtol=1e-4, atol=1e-4)


def test_moved_and_disturbance_are_those_of_a_measured_edit() -> None:
    model, given = tiny.tiny_model("llama"), tiny.dictionary()
    edit = steer.Intervention(given.name, [steer.Add(5, 3.0)])
    push = 3.0 * given.W_dec[5:6]
    for behaviour, change in zip(PANEL, moved(model, given, push, PANEL)[0], strict=True):
        prompts = [prompt for prompt, *_ in behaviour.questions]
        effect = steer.logit_effect(model, prompts, edit, dictionaries=[given], draws=0)
        measured = [
            row[model.token_id(right)] - row[model.token_id(wrong)]
            for row, (_, right, wrong) in zip(effect.delta_logit, behaviour.questions, strict=True)
        ]
        assert change.item() == pytest.approx(torch.stack(measured).mean().item(), abs=1e-4)
    forecast = model.explain(edit, dictionaries=[given], prompt=TEXT).forecast
    assert forecast is not None
    assert disturbance(model, given, push, TEXT).item() == pytest.approx(forecast.kl.value, 1e-3)


def test_a_fitted_map_says_more_of_other_features_than_nothing_does() -> None:
    model, given = tiny.tiny_model("llama"), tiny.dictionary()
    behaviour_map = fit(model, given, range(24), panel=PANEL, neutral=TEXT)
    pushes = unit_rows(given, range(24, given.width)) * 1.0
    exact = moved(model, given, pushes, PANEL)
    off = behaviour_map.forecast(pushes, disturbance(model, given, pushes, TEXT)) - exact
    assert off.square().sum() < 0.5 * exact.square().sum()
    assert (behaviour_map.names, behaviour_map.questions) == (("left", "right"), digest(PANEL))
    assert digest(PANEL) != digest()
    with pytest.raises(InterventionError, match="two or more"):
        fit(model, given, [1], panel=PANEL, neutral=TEXT)


def test_behaviours_whose_words_the_model_lacks_are_left_out(tmp_path: Path) -> None:
    model = tiny.tiny_model("llama")
    unknown = Behaviour("unknown", (("w7 w8", "w5 w6", "w9"),))
    assert readable(model, (*PANEL, unknown)) == PANEL
    assert readable(model) == ()  # " are" and " is" are both the unknown token
    given = tiny.dictionary()
    assert fit_and_keep(model, given, tmp_path) == ()
    assert BehaviourMap.load(tmp_path) is None
    assert fit_and_keep(model, given, tmp_path, panel=(*PANEL, unknown)) == ("left", "right")
    fitted = BehaviourMap.load(tmp_path)
    assert fitted is not None
    assert (fitted.questions, fitted.off) == (digest(PANEL), ())
    with pytest.raises(InterventionError, match="not one; give one"):
        moved(model, tiny.dictionary(), torch.zeros(1, tiny.D), [unknown])


def test_the_file_and_a_damaged_one(tmp_path: Path) -> None:
    assert BehaviourMap.load(tmp_path) is None
    KNOWN.save(tmp_path)
    again = BehaviourMap.load(tmp_path)
    assert again is not None
    assert torch.equal(again.slopes, KNOWN.slopes)
    assert (again.names, again.off) == (KNOWN.names, KNOWN.off)
    file = tmp_path / "behaviours.safetensors"
    file.write_bytes(file.read_bytes()[:-3])
    with pytest.raises(FormatError, match="steer forecast"):
        BehaviourMap.load(tmp_path)


@pytest.mark.parametrize("name", catalogue.names())
def test_a_shipped_map_is_of_the_panel_and_has_intervals(name: str) -> None:
    place = catalogue.load(name).place
    assert place is not None
    shipped = BehaviourMap.load(place)
    assert shipped is not None
    assert (shipped.names, shipped.questions) == (
        tuple(behaviour.name for behaviour in panel.PANEL),
        digest(),
    )
    assert len(shipped.off) == len(shipped.names)
    assert shipped.fingerprint == catalogue.read_card(name)["fingerprint"]


# -- what explain says -----------------------------------------------------------------------------


def test_it_is_the_push_by_the_slopes_and_the_cost_of_the_kl(saved: Dictionary) -> None:
    forecast = said(saved, steer.Add(5, 3.0))
    torch.testing.assert_close(linear(forecast), KNOWN.slopes @ (3.0 * saved.W_dec[5]))
    for move, (low, high) in zip(forecast.moves, KNOWN.off, strict=True):
        size = forecast.kl.value**0.5
        assert move.change.low == pytest.approx(move.change.value + size * low)
        assert move.change.high == pytest.approx(move.change.value + size * high)


def test_several_edits_add_up_and_the_sign_turns(saved: Dictionary) -> None:
    one, other = (linear(said(saved, steer.Add(feature, 3.0))) for feature in (5, 7))
    both = linear(said(saved, steer.Add(5, 3.0), steer.Add(7, 3.0)))
    torch.testing.assert_close(both, one + other, rtol=1e-3, atol=1e-3)
    turned = linear(said(saved, steer.Add(5, -3.0)))
    torch.testing.assert_close(turned, -one, rtol=1e-3, atol=1e-3)


def test_an_ablation_is_what_is_taken_away(saved: Dictionary) -> None:
    model = tiny.tiny_model("llama")
    acts = model.features(TEXT, saved).activations[1:]
    feature = int(acts.mean(0).argmax())
    expected = KNOWN.slopes @ (-acts[:, feature].mean() * saved.W_dec[feature])
    torch.testing.assert_close(
        linear(said(saved, steer.Ablate(feature))), expected, rtol=1e-3, atol=1e-3
    )


def test_what_is_no_sum_of_fixed_rows_has_none(saved: Dictionary) -> None:
    assert said(saved, steer.Add(5, 3.0), error="drop").moves == ()
    subspace = steer.Subspace([steer.Random(1), steer.Random(2)])
    assert said(saved, steer.AblateSubspace(subspace)).moves == ()


def test_only_what_leaves_zero_out_is_told(saved: Dictionary) -> None:
    assert [
        Moved("a", Bounded(-1.0, low, high)).told
        for low, high in ((-2.0, -0.1), (-2.0, 0.1), (0.1, 2.0), (None, None))
    ] == [True, False, True, True]
    forecast = said(saved, steer.Add(5, 3.0))
    assert not forecast.moves[1].told
    (line,) = (line for line in forecast.lines() if "also moves" in line)
    assert line.endswith("no telling whether right") or "no telling whether left, right" in line
    told = json.loads(json.dumps(forecast.to_dict()))["moves"]
    assert [move["behaviour"] for move in told] == ["left", "right"]
    assert set(told[0]["change"]) == {"value", "low", "high"}
