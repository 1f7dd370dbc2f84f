"""Every result becomes a figure, and a figure a file that opens without a network."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

import steer
from steer.effects.attribution.attribution import attribution
from steer.effects.dose.dose_response import dose_response
from steer.effects.metric import LogitDifference
from steer.effects.patching.curve import Curve
from steer.effects.sweep.ablation_sweep import ablation_sweep
from steer.effects.sweep.controls import Against
from steer.errors import SteerError
from steer.figures import files as figure_files
from steer.figures.curves import dose_curves, patching_curves
from steer.figures.effects import (
    agreement_scatter,
    downstream_bars,
    effect_bars,
    effect_figure,
    lens_table,
    path_bars,
    token_bars,
)
from steer.figures.tree import causal_tree
from tests.browser.driver import HOW, chromium
from tests.support import tiny

METRIC = LogitDifference("w5", "w6")


@pytest.fixture
def model(llama: steer.Model) -> steer.Model:
    pytest.importorskip("plotly")
    return llama


def test_bars_are_the_frame(model: steer.Model) -> None:
    sweep = ablation_sweep(
        model, tiny.PROMPTS, tiny.dictionary(), metric=METRIC, against=Against(draws=2, tested=5)
    )
    figure = effect_bars(sweep, top=7)
    (points,) = (trace for trace in figure.data if trace.type == "scatter")
    frame = sweep.frame.head(7)
    assert list(points.y) == [str(feature) for feature in frame["feature"][::-1]]
    assert list(points.x) == list(frame["effect"][::-1])
    assert any(trace.type == "bar" for trace in figure.data)


def test_later_features_paths_and_tokens_stand_before_their_controls(model: steer.Model) -> None:
    early, later = tiny.dictionary("resid_post.0"), replace(tiny.dictionary(), name="later")
    edit = steer.Intervention("tiny", [steer.Clamp(5, 3.0)])
    effect = steer.downstream(model, tiny.PROMPTS, edit, later, dictionaries=[early], draws=2)
    paths = steer.path_effects(
        model, tiny.PROMPTS, edit, metric=METRIC, dictionaries=[early], draws=2
    )
    alone = steer.direct_logit_effect(model, early, 5, prompts=tiny.PROMPTS, top=3, draws=2)
    tokens = [*alone.promoted, *reversed(alone.suppressed)]
    changes, effects = effect.frame["change"].head(4), paths.frame["effect"]
    for figure, values in (
        (downstream_bars(effect, top=4), list(changes)),
        (path_bars(paths), list(effects)),
        (token_bars(alone), [token.delta_logit for token in tokens]),
    ):
        (points,) = (trace for trace in figure.data if trace.type == "scatter")
        assert list(points.x) == values[::-1]
        bars = [trace for trace in figure.data if trace.type == "bar"]
        assert [len(bar.x) for bar in bars] == [len(values)] * 2
    random, matched = (bar for bar in token_bars(alone).data if bar.type == "bar")
    assert random.x[-1] == pytest.approx(2 * (tokens[0].random or 0.0))
    assert matched.base[-1] == pytest.approx(-(tokens[0].matched or 0.0))


def test_an_effect_is_drawn_with_the_controls_of_its_table(model: steer.Model) -> None:
    edit = steer.Intervention("tiny", [steer.Clamp(5, 3.0)])
    given = {"metric": METRIC, "dictionaries": [tiny.dictionary()]}
    effect = steer.logit_effect(model, tiny.PROMPTS, edit, draws=3, **given)
    assert effect.controls is not None
    frame = effect.controls.to_frame()
    table, draws, means = effect_figure(effect).data
    assert len(table.cells["values"]) == 2
    assert list(means.y) == list(frame["control"])
    assert list(means.x) == list(frame["effect"])
    assert list(draws.y).count("random") == list(draws.y).count("matched") == 3
    alone = steer.logit_effect(model, tiny.PROMPTS, edit, draws=0, **given)
    assert len(effect_figure(alone).data) == 1


def test_the_scatter_has_a_point_a_prompt_and_feature(model: steer.Model) -> None:
    dictionary = tiny.dictionary()
    sweep = ablation_sweep(model, tiny.PROMPTS, dictionary, metric=METRIC)
    attributed = attribution(model, tiny.PROMPTS, dictionary, METRIC, method="atp")
    points = agreement_scatter(attributed, sweep).data[-1]
    assert len(points.x) == len(sweep)
    assert points.y[0] == attributed.matrix()[sweep.rows[0]["feature"], sweep.rows[0]["prompt"]]
    with pytest.raises(SteerError, match="different prompts"):
        agreement_scatter(attributed, ablation_sweep(model, tiny.PROMPT, dictionary))


def test_doses_are_in_order(model: steer.Model) -> None:
    response = dose_response(model, tiny.PROMPTS, tiny.dictionary(), 5, [2.0, -2.0, 0.0])
    lines = [trace for trace in dose_curves(response).data if trace.mode == "lines+markers"]
    assert [trace.name for trace in lines] == ["kl", "delta_ce"]  # the effect is the KL
    assert list(lines[0].x) == [-2.0, 0.0, 2.0]
    other = dose_response(
        model, tiny.PROMPTS, tiny.dictionary(), 5, [2.0], neutral=["w3 w4 w5", "w7 w8"]
    )
    assert "neutral_ce" in {trace.name for trace in dose_curves(other).data}


def test_curves_and_tables_and_trees(model: steer.Model, tmp_path: Path) -> None:
    value = torch.tensor([[2.0, 3.0], [1.0, 1.5], [0.0, 0.1]])
    curve = Curve((0, 1, 4), value, value.flip(0), "tiny", "ig", "kl", "keep")
    both = patching_curves({"ours": curve, "random": curve})
    assert {trace.name for trace in both.data if trace.name} == {"ours", "random"}
    with pytest.raises(SteerError, match="allowed: count, norm"):
        patching_curves({"ours": curve}, "time")
    edit = steer.Intervention("tiny", [steer.Clamp(5, 3.0)])
    effect = steer.logit_effect(
        model, tiny.PROMPTS, edit, dictionaries=[tiny.dictionary()], draws=0
    )
    table = lens_table({"promoted": effect.promoted, "suppressed": effect.suppressed})
    assert len(table.data[0].cells["values"][0]) == len(effect.promoted)
    nodes = [
        {"id": 0, "level": 0, "feature": 7, "hookpoint": "resid_post.2"},
        {"id": 1, "level": 1, "feature": 3, "hookpoint": "resid_post.1"},
    ]
    edges = [{"source": 1, "target": 0, "drop": 0.5, "share": 0.4}]
    tree = causal_tree({"nodes": nodes, "edges": edges})
    assert list(tree.data[-1].y) == [0, -1]
    file = figure_files.save(tree, tmp_path / "tree.html")
    text = file.read_text()
    assert "resid_post.2" in text
    assert len(text) > 1_000_000  # plotly itself is inside


@pytest.mark.parametrize("name", ["tree.gif", "tree"])
def test_other_endings_are_refused(name: str, tmp_path: Path) -> None:
    pytest.importorskip("plotly")
    with pytest.raises(SteerError, match="not allowed"):
        figure_files.save(causal_tree({"nodes": [], "edges": []}), tmp_path / name)


@pytest.mark.parametrize(("name", "head"), [("tree.png", b"\x89PNG"), ("tree.svg", b"<svg")])
def test_a_picture_is_drawn_by_a_chrome(name: str, head: bytes, tmp_path: Path) -> None:
    pytest.importorskip("plotly")
    pytest.importorskip("kaleido", reason="a picture needs kaleido: pip install 'sae-steer[plots]'")
    if chromium() is None:
        pytest.skip(HOW)
    file = figure_files.save(causal_tree({"nodes": [], "edges": []}), tmp_path / name)
    drawn = file.read_bytes()
    assert drawn.startswith(head)
    assert len(drawn) > 500
