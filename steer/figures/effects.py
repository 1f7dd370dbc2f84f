"""Figures of effects: which features, which tokens, and how well estimates agree.

Results draw themselves with these in their `plot()`, so that their classes are named in words only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from steer.errors import SteerError
from steer.figures.palette import COLOURS, GRID
from steer.figures.style import error_bars, new_figure, style, unit_of

if TYPE_CHECKING:
    import pandas
    import plotly.graph_objects as go


def effect_bars(sweep: Any, top: int = 20) -> go.Figure:
    """The largest effects, with their intervals, and with the mean |effect| of their controls."""
    frame = sweep.to_frame().head(top)
    figure = new_figure(f"{sweep.edit} a feature: change of {sweep.metric}", height=120 + 22 * top)
    controls = {"control": "as large as its controls"} if "control" in frame else {}
    _bars(figure, frame, "feature", "effect", controls)
    axis = f"effect, {unit_of(sweep.metric)} (mean over prompts, with its interval)"
    figure.update_xaxes(title=axis, zeroline=True)
    return figure


def attribution_bars(attribution: Any, top: int = 20) -> go.Figure:
    """The largest estimated effects, with their intervals."""
    frame = attribution.to_frame(top)
    title = f"{attribution.method}: estimated change of {attribution.metric}"
    figure = new_figure(title, height=150 + 22 * len(frame))
    _bars(figure, frame, "feature", "effect", {})
    figure.update_xaxes(title=f"estimated effect, {unit_of(attribution.metric)}", zeroline=True)
    return figure


def downstream_bars(downstream: Any, top: int = 20) -> go.Figure:
    """The later features that change most, and how much they do under controls."""
    frame = downstream.to_frame().head(top)
    title = f"Features of {downstream.dictionary} that change, at tokens {downstream.at}"
    figure = new_figure(title, height=150 + 22 * len(frame))
    _bars(figure, frame, "feature", "change", _controls(frame))
    axis = "change of the activation (mean over tokens and prompts, with its interval)"
    figure.update_xaxes(title=axis, zeroline=True)
    return figure


def path_bars(paths: Any) -> go.Figure:
    """The effect by every path, and that of controls by the same path."""
    frame = paths.to_frame()
    figure = new_figure("The effect with parts of the model frozen", height=150 + 30 * len(frame))
    _bars(figure, frame, "path", "effect", _controls(frame))
    axis = f"effect, {unit_of(paths.metric)} (mean over prompts, with its interval)"
    figure.update_xaxes(title=axis, zeroline=True)
    figure.update_yaxes(title="")
    return figure


def token_bars(direct: Any) -> go.Figure:
    """The tokens whose logits change most by the direct path, and how much under controls."""
    import pandas

    tokens = (*direct.promoted, *reversed(direct.suppressed))
    frame = pandas.DataFrame([{**vars(token), "token": repr(token.token)} for token in tokens])
    title = f"Feature {direct.feature} times {direct.amount:g}, by the direct path alone"
    figure = new_figure(title, height=150 + 22 * len(frame))
    _bars(figure, frame, "token", "delta_logit", _controls(frame))
    figure.update_xaxes(title="change of the logit (mean over prompts, with its interval)")
    return figure


def effect_figure(effect: Any) -> go.Figure:
    """The tokens that an edit moves most; below, its effect beside those of its controls."""
    title = "Change of the next token's logits"
    tokens = lens_table({"promoted": effect.promoted, "suppressed": effect.suppressed}, title)
    if effect.controls is None:
        return tokens
    from plotly.subplots import make_subplots

    frame = effect.controls.to_frame()
    draws = effect.controls.to_rows().groupby(["control", "draw"], sort=False)["effect"].mean()
    figure = make_subplots(
        rows=2,
        cols=1,
        specs=[[{"type": "table"}], [{"type": "xy"}]],
        row_heights=[0.6, 0.4],
        vertical_spacing=0.12,
    )
    style(figure, title, height=tokens.layout.height + 90 + 40 * len(frame))
    figure.add_trace(tokens.data[0], row=1, col=1)
    figure.add_scatter(
        x=draws.to_list(),
        y=[control for control, _ in draws.index],
        mode="markers",
        name="each draw",
        marker={"color": COLOURS[2], "size": 6, "opacity": 0.6},
        row=2,
        col=1,
    )
    _points(figure, frame, "control", "effect", row=2, col=1)
    unit = unit_of(effect.controls.metric)
    figure.update_xaxes(title=f"effect, {unit} (mean over prompts, with its interval)", row=2)
    figure.update_yaxes(autorange="reversed", row=2)
    figure.update_layout(legend={"y": 0.38})
    return figure


def lens_table(rows: Mapping[str, Sequence[Any]], title: str = "Logit lens") -> go.Figure:
    """Tokens and how much their logits change: a column a heading, such as `promoted`."""
    import plotly.graph_objects as go

    cells = [
        [f"{token.token!r}  {token.delta_logit:+.2f}" for token in tokens]
        for tokens in rows.values()
    ]
    longest = max((len(column) for column in cells), default=0)
    figure = new_figure(title, height=180 + 26 * longest)
    figure.add_trace(
        go.Table(
            header={
                "values": [f"{name}, Δ logit" for name in rows],
                "align": "left",
                "fill_color": GRID,
                "height": 28,
            },
            cells={"values": cells, "align": "left", "fill_color": "white", "height": 26},
        )
    )
    return figure


def agreement_scatter(estimate: Any, sweep: Any) -> go.Figure:
    """A point a prompt and feature: the estimated effect against the exact one."""
    if estimate.prompts != sweep.prompts:
        raise SteerError("the attribution and the sweep are of different prompts")
    exact = [row["effect"] for row in sweep.rows]
    totals = estimate.matrix()
    guess = [totals[row["feature"], row["prompt"]].item() for row in sweep.rows]
    ends = [min([*exact, *guess], default=0.0), max([*exact, *guess], default=1.0)]
    figure = new_figure(f"{estimate.method} against exact ablation: {sweep.metric}")
    figure.add_scatter(
        x=ends, y=ends, mode="lines", name="equal", line={"color": COLOURS[2], "dash": "dot"}
    )
    figure.add_scatter(
        x=exact,
        y=guess,
        mode="markers",
        name="a prompt and feature",
        text=[f"feature {row['feature']}, prompt {row['prompt']}" for row in sweep.rows],
        marker={"color": COLOURS[1], "size": 5, "opacity": 0.5},
    )
    unit = unit_of(sweep.metric)
    figure.update_xaxes(title=f"exact effect, {unit}")
    figure.update_yaxes(title=f"estimated effect, {unit}")
    return figure


def _controls(frame: pandas.DataFrame) -> dict[str, str]:
    said = {"random": "as large as a random direction", "matched": "as large as a like feature"}
    return {kind: text for kind, text in said.items() if kind in frame}


def _bars(
    figure: go.Figure,
    frame: pandas.DataFrame,
    names: str,
    value: str,
    controls: Mapping[str, str],
) -> None:
    """A row each, the first on top: the value with its interval, and behind it how large its
    controls are; controls: columns of their mean size, and what they are called."""
    frame = frame.iloc[::-1]
    colours = {"matched": COLOURS[1]}
    for column, called in controls.items():
        size = frame[column].fillna(0.0)
        figure.add_bar(
            x=2 * size,
            base=-size,
            y=frame[names].astype(str),
            orientation="h",
            name=called,
            marker_color=colours.get(column, COLOURS[2]),
            opacity=0.35,
        )
    _points(figure, frame, names, value)
    figure.update_layout(barmode="overlay")
    figure.update_yaxes(title=names, type="category")


def _points(
    figure: go.Figure, frame: pandas.DataFrame, names: str, value: str, **place: int
) -> None:
    figure.add_scatter(
        x=frame[value],
        y=[str(label) for label in frame[names]],
        mode="markers",
        name=value.replace("delta_logit", "change"),
        error_x=error_bars(frame, value, "low", "high"),
        marker={"color": COLOURS[0], "size": 8},
        **place,
    )
