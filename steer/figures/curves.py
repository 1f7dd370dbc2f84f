"""Figures of curves: effects against the dose, and against how much is patched."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch

from steer.errors import SteerError
from steer.figures.palette import COLOURS
from steer.figures.style import add_band, colours, new_figure, style
from steer.shown import measured

if TYPE_CHECKING:
    import plotly.graph_objects as go


_LABELS = {
    "effect": "effect",
    "kl": "KL(clean‖edited), nats",
    "delta_ce": "ΔCE on the prompts, nats",
    "neutral_ce": "ΔCE on neutral text, nats",
    "loss": "loss of the written text, nats",
    "distinct": "different token pairs",
}


def dose_curves(response: Any) -> go.Figure:
    """Every measure against the dose, with bands."""
    from plotly.subplots import make_subplots

    from steer.edits.values import parse_value

    frame = response.to_frame()
    names = [name for name in response.measures if name in _LABELS]
    for name, same in (("neutral_ce", "delta_ce"), ("effect", "kl")):
        values, others = getattr(response, name), getattr(response, same)
        known = ~values.isnan()
        alike = values.shape == others.shape and torch.equal(values[known], others[known])
        if alike or not known.any():
            names.remove(name)
    parsed = [parse_value(dose) for dose in response.doses]
    frame = frame.assign(amount=[dose.amount for dose in parsed]).sort_values("amount")
    unit = " and ".join(dict.fromkeys(dose.unit for dose in parsed))
    across = min(len(names), 2)
    down = -(-len(names) // across)
    effect = {"effect": f"change of {measured(response.metric)}"}
    titles = [{**_LABELS, **effect}[name] for name in names]
    figure = make_subplots(rows=down, cols=across, subplot_titles=titles)
    style(figure, f"Feature {response.feature} against its dose", height=90 + 270 * down)
    for number, name in enumerate(names):
        place = {"row": number // across + 1, "col": number % across + 1}
        bounds = (frame[f"{name}_low"], frame[f"{name}_high"])
        add_band(figure, name, frame["amount"], frame[name], *bounds, COLOURS[0], **place)
        figure.update_xaxes(title=f"dose ({unit})", **place)
    figure.update_layout(showlegend=False)
    return figure


def patching_curves(curves: Mapping[str, Any], axis: str = "count") -> go.Figure:
    """The metric against how much is patched, with bands; axis: `count` or `norm`."""
    if axis not in ("count", "norm"):
        raise SteerError(f"axis={axis!r} is unknown; allowed: count, norm")
    figure = new_figure("How close patching comes to the target run")
    for (name, curve), colour in zip(curves.items(), colours(len(curves)), strict=True):
        frame = curve.to_frame().sort_values(axis)
        add_band(figure, name, frame[axis], frame["value"], frame["low"], frame["high"], colour)
    figure.update_xaxes(title="features patched" if axis == "count" else "mean ‖Δx‖")
    metrics = sorted({curve.metric for curve in curves.values()})
    said = ["KL(edited‖target), nats" if metric == "kl" else metric for metric in metrics]
    figure.update_yaxes(title=", ".join(said), rangemode="tozero")
    return figure
