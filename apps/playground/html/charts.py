"""Small charts as SVG text: they follow the page's theme, and are downloaded as they are seen."""

from __future__ import annotations

import base64
import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass

from apps.playground.html.markup import esc, figure, visible
from steer.figures.palette import COLOURS

WIDTH, HEIGHT = 420, 210
_LEFT, _RIGHT, _TOP, _BOTTOM = 48, 12, 12, 36
_STYLE = (
    "text{font:11px system-ui,sans-serif;fill:#6b6a66}line{stroke:#8884}"
    "path{fill:none;stroke-width:2}polygon{opacity:.16}"
)


@dataclass(frozen=True)
class Point:
    """x, y, and the ends of y's interval."""

    x: float
    y: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Line:
    """A named series of points."""

    name: str
    points: tuple[Point, ...]


@dataclass(frozen=True)
class _Frame:
    x: tuple[float, float]
    y: tuple[float, float]

    def at(self, x: float, y: float) -> tuple[float, float]:
        across = (x - self.x[0]) / (self.x[1] - self.x[0])
        up = (y - self.y[0]) / (self.y[1] - self.y[0])
        return (
            round(_LEFT + across * (WIDTH - _LEFT - _RIGHT), 1),
            round(HEIGHT - _BOTTOM - up * (HEIGHT - _TOP - _BOTTOM), 1),
        )


def line_chart(title: str, lines: Sequence[Line], across: str, up: str) -> str:
    """Lines with bands, a legend, and links that download the picture and its numbers."""
    points = [point for line in lines for point in line.points]
    if not points:
        return ""
    ys = [v for p in points for v in (p.y, p.low, p.high) if v is not None]
    frame = _Frame(_span([p.x for p in points]), _span([0.0, *ys]))
    drawn = "".join(
        _line(line, frame, colour) for line, colour in zip(lines, COLOURS, strict=False)
    )
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{esc(title)}"><style>{_STYLE}</style>{_axes(frame, across, up)}{drawn}</svg>'
    )
    return _framed(title, svg, _legend(lines), to_csv(lines, across, up))


def bar_strip(title: str, labels: Sequence[str], values: Sequence[float], up: str) -> str:
    """One bar a token, with the token on hover."""
    if not values:
        return ""
    frame = _Frame((0, len(values)), _span([0.0, *values]))
    width = max(1.0, (WIDTH - _LEFT - _RIGHT) / len(values) - 1)
    bars = []
    for number, (label, value) in enumerate(zip(labels, values, strict=True)):
        (x, y), (_, floor) = frame.at(number, max(value, 0)), frame.at(number, 0)
        bars.append(
            f'<rect x="{x}" y="{y}" width="{width:.1f}" height="{max(floor - y, 0.5):.1f}" '
            f'fill="{COLOURS[0]}" data-tip="{visible(label)}  {value:.3f}"></rect>'
        )
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{esc(title)}"><style>{_STYLE}</style>{_axes(frame, "token", up)}'
        f"{''.join(bars)}</svg>"
    )
    table = _csv([("token", up), *zip(labels, values, strict=True)])
    return _framed(title, svg, "", table)


def histogram(bins: Sequence[tuple[float, float, float]]) -> str:
    """(from, to, share) as bars whose area is the share."""
    if not bins:
        return ""
    heights = [share / (high - low) for low, high, share in bins]
    top, right = max(heights), bins[-1][1]
    bars = "".join(
        f'<rect x="{300 * low / right:.1f}" y="{60 - 56 * height / top:.1f}" '
        f'width="{max(300 * (high - low) / right - 1, 0.5):.1f}" height="{56 * height / top:.1f}" '
        f'data-tip="{share:.0%} of its active tokens: {figure(low)} to {figure(high)}"></rect>'
        for (low, high, share), height in zip(bins, heights, strict=True)
    )
    return stepped(
        "Activations",
        f'<svg class="histogram" viewBox="0 0 300 74" role="img" aria-label="Activations">{bars}'
        f'<text x="0" y="72">0</text><text x="300" y="72" text-anchor="end">{figure(right)}</text>'
        "</svg>",
    )


def _span(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    return (low, high) if high > low else (low, low + 1)


def _axes(frame: _Frame, across: str, up: str) -> str:
    parts = []
    for value in _ticks(*frame.y):
        _, y = frame.at(frame.x[0], value)
        parts.append(f'<line x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y}" y2="{y}"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{y + 4}" text-anchor="end">{figure(value)}</text>')
    for value in _ticks(*frame.x):
        x, _ = frame.at(value, frame.y[0])
        parts.append(
            f'<text x="{x}" y="{HEIGHT - _BOTTOM + 16}" text-anchor="middle">{figure(value)}</text>'
        )
    middle = (_LEFT + WIDTH - _RIGHT) / 2
    parts.append(f'<text x="{middle}" y="{HEIGHT - 4}" text-anchor="middle">{esc(across)}</text>')
    height = (HEIGHT - _BOTTOM) / 2
    parts.append(
        f'<text transform="translate(11 {height}) rotate(-90)" text-anchor="middle">'
        f"{esc(up)}</text>"
    )
    return "".join(parts)


def _ticks(low: float, high: float) -> list[float]:
    """Round numbers between the ends, at most six."""
    step = 10 ** math.floor(math.log10((high - low) / 3))
    step *= next(m for m in (1, 2, 5, 10) if (high - low) / (step * m) <= 5)
    first = math.ceil(low / step)
    return [round(n * step, 10) for n in range(first, math.floor(high / step) + 1)]


def _line(line: Line, frame: _Frame, colour: str) -> str:
    at = [frame.at(p.x, p.y) for p in line.points]
    path = "M" + "L".join(f"{x} {y}" for x, y in at)
    ends = [(p.x, p.low, p.high) for p in line.points if p.low is not None and p.high is not None]
    outline = [frame.at(x, high) for x, _, high in ends]
    outline += [frame.at(x, low) for x, low, _ in reversed(ends)]
    band = " ".join(f"{x},{y}" for x, y in outline)
    dots = "".join(
        f'<circle cx="{x}" cy="{y}" r="3" fill="{colour}" data-tip="{esc(_said(line.name, p))}">'
        "</circle>"
        for (x, y), p in zip(at, line.points, strict=True)
    )
    return f'<polygon points="{band}" fill="{colour}"/><path d="{path}" stroke="{colour}"/>{dots}'


def _said(name: str, point: Point) -> str:
    interval = "" if point.low is None else f" ({figure(point.low)} to {figure(point.high or 0)})"
    return f"{name} at {figure(point.x)}: {figure(point.y)}{interval}"


def _legend(lines: Sequence[Line]) -> str:
    items = "".join(
        f'<span><i style="background:{colour}"></i>{esc(line.name)}</span>'
        for line, colour in zip(lines, COLOURS, strict=False)
    )
    return f'<p class="key">{items}</p>'


def _framed(title: str, svg: str, legend: str, table: str) -> str:
    name = "".join(c if c.isalnum() else "-" for c in title.lower())[:40]
    links = "".join(
        f'<a download="{name}.{ending}" href="data:{kind};base64,'
        f'{base64.b64encode(text.encode()).decode()}">{ending.upper()}</a>'
        for ending, kind, text in (("svg", "image/svg+xml", svg), ("csv", "text/csv", table))
    )
    return (
        f'<figure class="chart"><figcaption>{esc(title)}<span class="get">{links}</span>'
        f"</figcaption>{stepped(title, svg)}{legend}</figure>"
    )


def stepped(title: str, svg: str) -> str:
    """A picture whose parts are told on pointing, or one after another with the arrow keys."""
    label = f"{esc(title)}: arrow keys step through it"
    return f'<div class="plot" tabindex="0" role="group" aria-label="{label}">{svg}</div>'


def to_csv(lines: Sequence[Line], across: str, up: str) -> str:
    """One row a point."""
    rows: list[tuple[object, ...]] = [("series", across, up, "low", "high")]
    rows += [(line.name, p.x, p.y, p.low, p.high) for line in lines for p in line.points]
    return _csv(rows)


def _csv(rows: Sequence[Sequence[object]]) -> str:
    out = io.StringIO()
    csv.writer(out).writerows(rows)
    return out.getvalue()
