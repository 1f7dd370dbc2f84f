"""The map on models where what it is to say is known; what `explain` makes of it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import steer
from dictionaries import catalogue
from dictionaries.architectures import ReLU
from dictionaries.beside.forecast import ForecastMap
from dictionaries.config import DictionaryConfig
from dictionaries.dictionary import Dictionary
from dictionaries.errors import FormatError
from steer.errors import InterventionError
from steer.forecasts.fit import fit, pushed, solved, unit_rows
from tests.support import tiny

TEXTS = tuple(" ".join(f"w{(7 * row + 3 * i) % 90 + 3}" for i in range(12)) for row in range(4))
SITE = "resid_post.1"
OFF = {"kl": (-1.0, 0.5), "one_text": (-2.0, 1.0), "spread": (-0.1, 0.1), "safe": (-0.5, 0.5),
       "logit": (0.5, 1.5)}  # fmt: skip


def wide(hookpoint: str = SITE, width: int = 40 * tiny.D) -> Dictionary:
    """A dictionary whose decoder rows are random: many more than the stream is wide."""
    rows = torch.randn(width, tiny.D, generator=torch.Generator().manual_seed(3))
    about = DictionaryConfig(d_in=tiny.D, width=width, hookpoint=hookpoint)
    return ReLU(rows.T, torch.zeros(width), rows, torch.zeros(tiny.D), about)


def test_of_the_last_site_and_small_pushes_it_is_the_norms_slope() -> None:
    model = tiny.tiny_model("llama")
    last = f"resid_post.{model.anatomy.depth - 1}"
    given = wide(last)
    units, length = unit_rows(given, range(200)), 1e-3
    matrix = solved(units, pushed(model, given, range(200), length, TEXTS))
    unseen = unit_rows(given, range(200, 260))
    exact = pushed(model, given, range(200, 260), length, TEXTS)
    assert torch.cosine_similarity(unseen @ matrix, exact).min() > 0.99


def test_it_says_more_of_unseen_features_than_the_direction_itself() -> None:
    model, given = tiny.tiny_model("llama"), wide()
    forecast_map = fit(model, given, range(200, given.width), texts=TEXTS)
    exact = pushed(model, given, range(200), forecast_map.length, TEXTS)
    units = unit_rows(given, range(200))
    through = torch.cosine_similarity(units @ forecast_map.matrix, exact).mean()
    assert through > torch.cosine_similarity(units, exact).mean()
    assert through > 0.8
    assert forecast_map.fingerprint == model.fingerprint


def test_too_few_features_are_refused() -> None:
    with pytest.raises(InterventionError, match="dealt out over 4 texts"):
        fit(tiny.tiny_model("llama"), tiny.dictionary(), [1, 2], texts=TEXTS)


def test_the_file_and_a_damaged_one(tmp_path: Path) -> None:
    assert ForecastMap.load(tmp_path) is None
    kept = ForecastMap(torch.eye(5), 2.5, "abc", OFF)
    kept.save(tmp_path)
    again = ForecastMap.load(tmp_path)
    assert again is not None
    assert torch.equal(again.matrix, kept.matrix)
    assert (again.length, again.fingerprint, dict(again.off)) == (2.5, "abc", OFF)
    file = tmp_path / "forecast.safetensors"
    file.write_bytes(file.read_bytes()[:-3])
    with pytest.raises(FormatError, match="steer forecast"):
        ForecastMap.load(tmp_path)


@pytest.fixture
def saved(tmp_path: Path) -> Dictionary:
    """A dictionary in a folder, to lie beside."""
    given = tiny.dictionary()
    catalogue.save(given, tmp_path)
    assert given.statistics is not None
    given.statistics.save(tmp_path)
    return catalogue.load(tmp_path)


def test_without_a_map_it_is_of_the_neutral_text_and_has_no_intervals(saved: Dictionary) -> None:
    model = tiny.tiny_model("llama")
    edit = steer.Intervention(saved.name, [steer.Add(5, 3.0)])
    said = model.explain(edit, dictionaries=[saved], prompt=TEXTS[0]).forecast
    assert said is not None
    assert not said.mapped
    assert said.kl.low is None
    assert "nobody scored it" in "\n".join(said.lines())
    effect = steer.logit_effect(model, [TEXTS[0]], edit, dictionaries=[saved], draws=0)
    assert effect.positions  # every position of the text
    whole = torch.as_tensor(list(effect.positions[0].to_frame()["kl"])[1:])
    assert said.kl.value == pytest.approx(whole.double().mean().item(), rel=1e-3)


def test_with_a_map_it_has_intervals_and_its_tokens(saved: Dictionary) -> None:
    model = tiny.tiny_model("llama")
    matrix = torch.randn(model.d, model.d, generator=torch.Generator().manual_seed(0)) * 50
    assert saved.place is not None
    ForecastMap(matrix, 2.0, model.fingerprint, OFF).save(saved.place)
    edit = steer.Intervention(saved.name, [steer.Add(5, 3.0)])
    said = model.explain(edit, dictionaries=[saved], prompt=TEXTS[0]).forecast
    assert said is not None
    assert said.mapped
    for bounded in (said.kl, said.one_text, said.spread, said.safe, said.promoted[0].delta_logit):
        assert bounded.low is not None
        assert bounded.high is not None
        assert bounded.low < bounded.value < bounded.high
    change = 3.0 * saved.W_dec[5] / 2.0 @ matrix.half().float()
    head = model.module.get_output_embeddings().weight.detach()
    best = (head @ change).topk(20).indices.tolist()
    assert {each.id for each in said.promoted[:3]} <= set(best)
    assert [each.delta_logit.value for each in said.promoted] == sorted(
        (each.delta_logit.value for each in said.promoted), reverse=True
    )
    ForecastMap(matrix, 2.0, "another model", OFF).save(saved.place)
    other = model.explain(edit, dictionaries=[saved], prompt=TEXTS[0]).forecast
    assert other is not None
    assert not other.mapped


@pytest.mark.parametrize(
    ("edits", "amounts"),
    [
        ([steer.Add(5, -3.0)], {5: -3.0}),
        ([steer.Add(5, 3.0), steer.Add(7, -2.0)], {5: 3.0, 7: -2.0}),
    ],
)
def test_a_turned_edit_and_several_go_through_the_map_as_one_push(
    saved: Dictionary, edits: list[steer.Edit], amounts: dict[int, float]
) -> None:
    model = tiny.tiny_model("llama")
    matrix = torch.randn(model.d, model.d, generator=torch.Generator().manual_seed(0)) * 5_000
    assert saved.place is not None
    ForecastMap(matrix, 2.0, model.fingerprint, OFF).save(saved.place)
    edit = steer.Intervention(saved.name, edits)
    said = model.explain(edit, dictionaries=[saved], prompt=TEXTS[0]).forecast
    assert said is not None
    push = torch.stack([saved.W_dec[feature] * amount for feature, amount in amounts.items()])
    head = model.module.get_output_embeddings().weight.detach()
    logits = head @ (push.sum(0) / 2.0 @ matrix.half().float()) / 2  # half is of the neutral text
    assert said.promoted[0].id == int(logits.argmax())
    assert said.promoted[0].delta_logit.value == pytest.approx(logits.max().item(), rel=1e-2)


def test_nothing_moved_is_no_forecast(saved: Dictionary) -> None:
    model = tiny.tiny_model("llama")
    same = steer.Intervention(saved.name, [steer.Scale(5, 1.0)])
    assert model.explain(same, dictionaries=[saved], prompt=TEXTS[0]).forecast is None
    subspace = steer.Subspace([steer.Random(1), steer.Random(2)])
    ablated = steer.Intervention(SITE, [steer.AblateSubspace(subspace)])
    said = model.explain(ablated, prompt=TEXTS[0]).forecast
    assert said is not None
    assert said.unembedding == ()
    assert not said.mapped
