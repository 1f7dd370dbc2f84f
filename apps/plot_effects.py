"""Figures of effects: which features, which tokens, and how well estimates agree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from apps.palette import COLOURS, GRID
from apps.plot_style import error_bars, new_figure, unit_of
from steer.errors import SteerError

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from steer.effects.attribution_result import Attribution
    from steer.effects.logit_result import TokenEffect
    from steer.effects.sweep_result import Sweep


def effect_bars(sweep: Sweep, top: int = 20) -> go.Figure:
    """The largest effects, with their intervals, and with the mean |effect| of their controls."""
    frame = sweep.to_frame().head(top).iloc[::-1]
    names = [str(feature) for feature in frame["feature"]]
    figure = new_figure(f"{sweep.edit} a feature: change of {sweep.metric}", height=120 + 22 * top)
    if "control" in frame:
        size = frame["control"].fillna(0.0)
        figure.add_bar(
            x=2 * size,
            base=-size,
            y=names,
            orientation="h",
            name="as large as its controls",
            marker_color=COLOURS[2],
            opacity=0.35,
        )
    figure.add_scatter(
        x=frame["effect"],
        y=names,
        mode="markers",
        name="effect",
        error_x=error_bars(frame, "effect", "low", "high"),
        marker={"color": COLOURS[0], "size": 8},
    )
    figure.update_layout(barmode="overlay")
    axis = f"effect, {unit_of(sweep.metric)} (mean over prompts, with its interval)"
    figure.update_xaxes(title=axis, zeroline=True)
    figure.update_yaxes(title="feature", type="category")
    return figure


def lens_table(rows: Mapping[str, Sequence[TokenEffect]], title: str = "Logit lens") -> go.Figure:
    """Tokens and how much their logits change: a column a heading, such as `promoted`."""
    import plotly.graph_objects as go

    cells = [
        [f"{each.token!r}  {each.delta_logit:+.2f}" for each in tokens] for tokens in rows.values()
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


def agreement_scatter(estimate: Attribution, sweep: Sweep) -> go.Figure:
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
