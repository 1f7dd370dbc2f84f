"""Every result shows itself in a few lines, has a frame, and draws itself where it can be drawn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pandas
import pytest

import steer
from steer.effects.metric import LogitDifference
from steer.features.contrast import feature_contrast
from steer.shown import coloured, number
from tests.support import tiny

PROMPTS = list(tiny.PROMPTS)
METRIC = LogitDifference("w5", "w6")
SAE = tiny.dictionary()
LATER = replace(tiny.dictionary(), name="later")
EARLY = tiny.dictionary("resid_post.0")
EDIT = steer.Intervention("tiny", [steer.Clamp(5, 3.0, positions="1:")])

Make = Callable[[steer.Model], Any]


def pairs(model: steer.Model) -> Any:
    return steer.prompt_pairs(model, ["w7 w31 w12"], ["w7 w31 w40"], SAE)


TABLES: dict[str, Make] = {
    "sweep": lambda m: steer.ablation_sweep(m, PROMPTS, SAE, metric=METRIC),
    "sweep with controls": lambda m: steer.ablation_sweep(
        m, PROMPTS, SAE, metric=METRIC, against=steer.Against(draws=2, tested=5)
    ),
    "attribution": lambda m: steer.attribution(m, PROMPTS, SAE, METRIC),
    "dose": lambda m: steer.dose_response(m, PROMPTS, SAE, 5, [-1.0, 1.0], continuation=0),
    "effect": lambda m: steer.logit_effect(m, PROMPTS, EDIT, dictionaries=[SAE], draws=2),
    "downstream": lambda m: steer.downstream(
        m, PROMPTS, EDIT, LATER, dictionaries=[EARLY], draws=2
    ),
    "paths": lambda m: steer.path_effects(
        m, PROMPTS, EDIT, metric=METRIC, dictionaries=[SAE], draws=2
    ),
    "direct": lambda m: steer.direct_logit_effect(m, SAE, 5, draws=2),
    "tree": lambda m: steer.causal_tree(m, [SAE, EARLY], 6, PROMPTS, positions="all"),
    "curve": lambda m: steer.patch_curve(pairs(m)),
}
"""What can be drawn, too."""
OTHERS: dict[str, Make] = {
    "pairs": lambda m: steer.pair_sweep(m, PROMPTS, SAE, [5, 6, 7]),
    "acdc": lambda m: steer.flat_acdc(pairs(m)),
    "contrast": lambda m: feature_contrast(m, SAE, ["w7 w8", "w9 w9"], ["w20 w3", "w4 w5"]),
    "features": lambda m: m.features(PROMPTS[0], SAE),
    "receipt": lambda m: m.generate(PROMPTS[0], EDIT, dictionaries=[SAE]).receipt,
    "controls": lambda m: TABLES["effect"](m).controls,
    "position by position": lambda m: TABLES["effect"](m).positions[0],
}
LINES: dict[str, Make] = {
    "model": lambda m: m,
    "run": lambda m: m.generate(PROMPTS[0], EDIT, dictionaries=[SAE]),
    "explanation": lambda m: m.explain(EDIT, dictionaries=[SAE], prompt=PROMPTS[0]),
    "minimal set": lambda m: steer.minimal_set(pairs(m), faithfulness=0.5),
    "an edit along many numbers": lambda m: steer.AddDirection(
        steer.Vector([0.5] * 2000), "1x vector"
    ),
}
ALL = {**TABLES, **OTHERS, **LINES}


def of(makers: dict[str, Make]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("make", makers.values(), ids=makers)


@of(ALL)
def test_it_is_printed_in_a_few_lines(make: Make, llama: steer.Model) -> None:
    said = repr(make(llama))
    assert 1 <= len(said.splitlines()) <= 12
    assert len(said) < 2_000
    assert "tensor(" not in said
    assert max(map(len, said.splitlines())) < 400


@of({**TABLES, **OTHERS})
def test_it_has_a_frame(make: Make, llama: steer.Model) -> None:
    made = make(llama)
    assert isinstance(made.frame, pandas.DataFrame)
    assert len(made.frame)


@of({**TABLES, **OTHERS, "run": LINES["run"]})
def test_a_notebook_shows_it(make: Make, llama: steer.Model) -> None:
    shown = make(llama)._repr_html_()
    assert "<table" in shown or "<span" in shown
    assert "<script" not in shown


@of(TABLES)
def test_it_draws_itself(make: Make, llama: steer.Model) -> None:
    figures = pytest.importorskip("plotly.graph_objects")
    figure = make(llama).plot()
    assert isinstance(figure, figures.Figure)
    assert len(figure.data)


def test_the_first_rows_of_a_sweep_are_those_of_its_frame(llama: steer.Model) -> None:
    sweep = TABLES["sweep"](llama)
    title, heads, *rows = repr(sweep).splitlines()
    assert title.startswith("Sweep: ablate each of ")
    assert heads.split()[:2] == ["feature", "effect"]
    first = sweep.frame.head(5)
    assert [row.split()[0] for row in rows[:5]] == [str(each) for each in first["feature"]]
    assert [row.split()[1] for row in rows[:5]] == [number(each) for each in first["effect"]]
    assert rows[5] == f"… {len(sweep.frame) - 5:,} more rows in .frame"


def test_a_run_shows_both_texts_and_the_receipt(llama: steer.Model) -> None:
    run = LINES["run"](llama)
    said = repr(run)
    assert repr(run.text[:20])[1:-1] in said
    assert repr(run.baseline.text[:20])[1:-1] in said
    assert said.endswith(str(run.receipt))


def test_an_attribution_is_drawn_against_a_sweep(llama: steer.Model) -> None:
    pytest.importorskip("plotly")
    sweep, estimate = (TABLES[name](llama) for name in ("sweep", "attribution"))
    figure = estimate.plot(exact=sweep)
    assert list(figure.data[1].x) == [row["effect"] for row in sweep.rows]


def test_tokens_are_as_deep_as_they_are_strong_and_escaped() -> None:
    shown = coloured(["<b>", " a"], [1.0, 4.0])
    assert "&lt;b&gt;" in shown
    assert "<b>" not in shown
    assert [part.split(")")[0] for part in shown.split("26, ")[1:]] == ["0.25", "1.00"]


@pytest.mark.parametrize(
    ("value", "said"),
    [(0.0012345, "0.00123"), (12.3456, "12.3"), (1234.5, "1,234"), (3, "3"), (None, "–")],
)
def test_three_digits(value: Any, said: str) -> None:
    assert number(value) == said
    assert number(float("nan")) == "–"
