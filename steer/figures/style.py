"""What all figures of results share: their look, bands, error bars and units."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from steer.figures.palette import COLOURS, GRID, INK

if TYPE_CHECKING:
    import plotly.graph_objects as go
    from plotly.graph_objects import Figure as Figure

_UNITS = {
    "LogitDifference": "logits",
    "LogProbability": "nats",
    "Loss": "nats",
    "Divergence": "KL, nats",
    "kl": "KL, nats",
}
"""Of the metrics, by their names in results; others are named as they are."""


def unit_of(metric: str) -> str:
    return _UNITS.get(metric, metric)


def new_figure(title: str, height: int = 460) -> go.Figure:
    import plotly.graph_objects as go
    from plotly.graph_objects import Figure as Figure

    return style(go.Figure(), title, height)


def style(figure: go.Figure, title: str, height: int) -> go.Figure:
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


def add_band(
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


def error_bars(frame: Any, middle: str, low: str, high: str) -> dict[str, Any]:
    return {
        "type": "data",
        "symmetric": False,
        "array": (frame[high] - frame[middle]).fillna(0.0),
        "arrayminus": (frame[middle] - frame[low]).fillna(0.0),
        "color": COLOURS[0],
        "thickness": 1.5,
    }


def colours(count: int) -> list[str]:
    return [COLOURS[number % len(COLOURS)] for number in range(count)]
