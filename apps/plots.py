"""Figures of results, by plotly: an object in, a `Figure` out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from apps.figure_files import check as check
from apps.figure_files import save as save
from apps.palette import COLOURS, GRID, INK
from steer.errors import SteerError

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from steer.effects.attribution_result import Attribution
    from steer.effects.curve import Curve
    from steer.effects.dose_result import DoseResponse
    from steer.effects.logit_result import TokenEffect
    from steer.effects.sweep_result import Sweep

_UNITS = {
    "LogitDifference": "logits",
    "LogProbability": "nats",
    "Loss": "nats",
    "Divergence": "KL, nats",
    "kl": "KL, nats",
}
"""Of the metrics, by their names in results; others are named as they are."""
_LABELS = {
    "effect": "effect",
    "kl": "KL(clean‖edited), nats",
    "delta_ce": "ΔCE on the prompts, nats",
    "neutral_ce": "ΔCE on neutral text, nats",
    "loss": "loss of the written text, nats",
    "distinct": "different token pairs",
}


def effect_bars(sweep: Sweep, top: int = 20) -> go.Figure:
    """The largest effects, with their intervals, and with the mean |effect| of their controls."""
    frame = sweep.to_frame().head(top).iloc[::-1]
    names = [str(feature) for feature in frame["feature"]]
    figure = _figure(f"{sweep.edit} a feature: change of {sweep.metric}", height=120 + 22 * top)
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
        error_x=_error(frame, "effect", "low", "high"),
        marker={"color": COLOURS[0], "size": 8},
    )
    figure.update_layout(barmode="overlay")
    axis = f"effect, {_unit(sweep.metric)} (mean over prompts, with its interval)"
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
    figure = _figure(title, height=180 + 26 * longest)
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


def dose_curves(found: DoseResponse) -> go.Figure:
    """Every measure against the dose, with bands."""
    from plotly.subplots import make_subplots

    from steer.values import parse_value

    frame = found.to_frame()
    names = [name for name in found.measures if name in _LABELS]
    for name, same in (("neutral_ce", "delta_ce"), ("effect", "kl")):
        if getattr(found, name).tolist() == getattr(found, same).tolist():
            names.remove(name)
    parsed = [parse_value(dose) for dose in found.doses]
    frame = frame.assign(amount=[dose.amount for dose in parsed]).sort_values("amount")
    unit = " and ".join(dict.fromkeys(dose.unit for dose in parsed))
    across = min(len(names), 2)
    down = -(-len(names) // across)
    effect = {"effect": f"change of {found.metric}, {_unit(found.metric)}"}
    titles = [{**_LABELS, **effect}[name] for name in names]
    figure = make_subplots(rows=down, cols=across, subplot_titles=titles)
    _style(figure, f"Feature {found.feature} against its dose", height=90 + 270 * down)
    for number, name in enumerate(names):
        place = {"row": number // across + 1, "col": number % across + 1}
        bounds = (frame[f"{name}_low"], frame[f"{name}_high"])
        _band(figure, name, frame["amount"], frame[name], *bounds, COLOURS[0], **place)
        figure.update_xaxes(title=f"dose ({unit})", **place)
    figure.update_layout(showlegend=False)
    return figure


def agreement_scatter(estimate: Attribution, sweep: Sweep) -> go.Figure:
    """A point a prompt and feature: the estimated effect against the exact one."""
    if estimate.prompts != sweep.prompts:
        raise SteerError("the attribution and the sweep are of different prompts")
    exact = [row["effect"] for row in sweep.rows]
    totals = estimate.matrix()
    guess = [totals[row["feature"], row["prompt"]].item() for row in sweep.rows]
    ends = [min([*exact, *guess], default=0.0), max([*exact, *guess], default=1.0)]
    figure = _figure(f"{estimate.method} against exact ablation: {sweep.metric}")
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
    unit = _unit(sweep.metric)
    figure.update_xaxes(title=f"exact effect, {unit}")
    figure.update_yaxes(title=f"estimated effect, {unit}")
    return figure


def patching_curves(curves: Mapping[str, Curve], axis: str = "count") -> go.Figure:
    """The metric against how much is patched, with bands; axis: `count` or `norm`."""
    if axis not in ("count", "norm"):
        raise SteerError(f"axis={axis!r} is unknown; allowed: count, norm")
    figure = _figure("How close patching comes to the target run")
    for (name, curve), colour in zip(curves.items(), _cycle(len(curves)), strict=True):
        frame = curve.to_frame().sort_values(axis)
        _band(figure, name, frame[axis], frame["value"], frame["low"], frame["high"], colour)
    figure.update_xaxes(title="features patched" if axis == "count" else "mean ‖Δx‖")
    metrics = sorted({curve.metric for curve in curves.values()})
    said = ["KL(edited‖target), nats" if metric == "kl" else metric for metric in metrics]
    figure.update_yaxes(title=", ".join(said), rangemode="tozero")
    return figure


def causal_tree(tree: Mapping[str, Any], title: str = "Causal tree") -> go.Figure:
    """From `CausalTree.to_dict()`: nodes by level, the target on top; edges as thick as the share
    of its activation that a node loses when the other is ablated, with the share beside them."""
    nodes, edges = list(tree["nodes"]), list(tree["edges"])
    levels: dict[int, list[Any]] = {}
    for node in nodes:
        levels.setdefault(node["level"], []).append(node["id"])
    at = {
        number: ((place + 0.5) / len(members), -level)
        for level, members in levels.items()
        for place, number in enumerate(members)
    }
    figure = _figure(f"{title}: share of the activation that falls", height=200 + 130 * len(levels))
    for edge in edges:
        (x, y), (u, v) = at[edge["source"]], at[edge["target"]]
        share = abs(edge.get("share") or 0.0)
        figure.add_scatter(
            x=[x, u],
            y=[y, v],
            mode="lines",
            line={"color": COLOURS[1], "width": 1 + 8 * min(share, 1.0)},
            opacity=0.6,
            hoverinfo="skip",
        )
        figure.add_annotation(
            x=x + 0.3 * (u - x),
            y=y + 0.3 * (v - y),
            text=_share(edge),
            showarrow=False,
            bgcolor="white",
        )
    figure.add_scatter(
        x=[at[node["id"]][0] for node in nodes],
        y=[at[node["id"]][1] for node in nodes],
        mode="markers+text",
        text=[f"{node['feature']}<br>{node['hookpoint']}" for node in nodes],
        textposition=["top center" if node["level"] == 0 else "bottom center" for node in nodes],
        marker={"color": COLOURS[0], "size": 16},
    )
    figure.update_layout(showlegend=False)
    figure.update_xaxes(visible=False, range=[-0.05, 1.05])
    figure.update_yaxes(visible=False, range=[-max(levels, default=0) - 0.4, 0.4])
    return figure


# -- shared ------------------------------------------------------------------------------------


def _unit(metric: str) -> str:
    return _UNITS.get(metric, metric)


def _share(edge: Mapping[str, Any]) -> str:
    """The share that an edge carries, with its interval where there is one."""
    share, low, high = (edge.get(name) for name in ("share", "share_low", "share_high"))
    if share is None:
        return f"{edge['drop']:.3g}"
    between = "" if low is None or high is None else f"<br>[{low:.0%}, {high:.0%}]"
    return f"{share:.0%}{between}"


def _figure(title: str, height: int = 460) -> go.Figure:
    import plotly.graph_objects as go

    return _style(go.Figure(), title, height)


def _style(figure: go.Figure, title: str, height: int) -> go.Figure:
    figure.update_layout(
        title={"text": title, "x": 0, "xref": "paper", "font": {"size": 16}},
        height=height,
        template="none",
        paper_bgcolor="white",
        plot_bgcolor="white",
        font={"family": "system-ui, sans-serif", "size": 12, "color": INK},
        margin={"l": 70, "r": 30, "t": 70, "b": 60},
        legend={"orientation": "h", "y": 1.0, "yanchor": "bottom", "x": 1, "xanchor": "right"},
    )
    figure.update_xaxes(gridcolor=GRID, zerolinecolor=COLOURS[2], ticks="")
    figure.update_yaxes(gridcolor=GRID, zerolinecolor=COLOURS[2], automargin=True)
    return figure


def _band(
    figure: go.Figure, name: str, x: Any, y: Any, low: Any, high: Any, colour: str, **place: int
) -> None:
    """A line with its interval; one without bounds has no band."""
    known = low.notna() & high.notna()
    if known.any():
        around = [*x[known], *x[known][::-1]]
        ends = [*high[known], *low[known][::-1]]
        figure.add_scatter(
            x=around,
            y=ends,
            fill="toself",
            mode="none",
            fillcolor=colour,
            opacity=0.2,
            showlegend=False,
            hoverinfo="skip",
            **place,
        )
    figure.add_scatter(
        x=x, y=y, mode="lines+markers", name=name, line={"color": colour, "width": 2}, **place
    )


def _error(frame: Any, middle: str, low: str, high: str) -> dict[str, Any]:
    return {
        "type": "data",
        "symmetric": False,
        "array": (frame[high] - frame[middle]).fillna(0.0),
        "arrayminus": (frame[middle] - frame[low]).fillna(0.0),
        "color": COLOURS[0],
        "thickness": 1.5,
    }


def _cycle(count: int) -> list[str]:
    return [COLOURS[number % len(COLOURS)] for number in range(count)]
