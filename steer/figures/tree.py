"""The figure of a causal tree."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from steer.figures.palette import COLOURS
from steer.figures.style import new_figure

if TYPE_CHECKING:
    import plotly.graph_objects as go


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
    figure = new_figure(
        f"{title}: share of the activation that falls", height=200 + 130 * len(levels)
    )
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


def _share(edge: Mapping[str, Any]) -> str:
    """The share that an edge carries, with its interval where there is one."""
    share, low, high = (edge.get(name) for name in ("share", "share_low", "share_high"))
    if share is None:
        return f"{edge['drop']:.3g}"
    between = "" if low is None or high is None else f"<br>[{low:.0%}, {high:.0%}]"
    return f"{share:.0%}{between}"
