"""What Measure shows, as HTML text."""

from __future__ import annotations

from collections.abc import Sequence

from apps.playground.html.charts import Line, Point, bar_strip, line_chart
from apps.playground.html.markup import esc, visible
from apps.playground.measure.results import Along, Curve, Interval, Measured, Moved


def measured_view(found: Measured) -> str:
    """Tables and charts of what the edits do."""
    kl = "".join(f"<tr><th>{esc(name)}</th>{_cells(value)}</tr>" for name, value in found.kl)
    named = "".join(
        f"<tr><th>{esc(name)}</th>{_cells(value)}</tr>" for name, value in found.difference
    )
    pairs = f"n = {found.prompts} prompts, {found.dtype}; intervals are 95% bootstraps over them"
    return f"""
<section class="measured"><p class="count">{esc(pairs)}</p>
 <div class="two"><div>
  <table><caption>KL(clean ‖ edited) of the next token, nats</caption>{kl}</table>
  {f"<table><caption>logit difference</caption>{named}</table>" if named else ""}
 </div>{_curve(found.curves)}</div>
 <div class="two"><table><caption>promoted, Δ logit</caption>{_moved(found.promoted)}</table>
  <table><caption>suppressed, Δ logit</caption>{_moved(found.suppressed)}</table></div>
 <div class="two">{"".join(map(_along, found.along))}</div>
</section>"""


def _cells(value: Interval) -> str:
    ends = "" if value.low is None else f"{value.low:.3f} to {value.high:.3f}"
    return f'<td class="num">{value.mean:.3f}</td><td class="num soft">{ends}</td>'


def _moved(rows: Sequence[Moved]) -> str:
    return "".join(f"<tr><th>{visible(row.token)}</th>{_cells(row.change)}</tr>" for row in rows)


def _curve(curves: Sequence[Curve]) -> str:
    lines = [
        Line(
            curve.name,
            tuple(
                Point(share, value.mean, value.low, value.high)
                for share, value in zip(curve.shares, curve.kl, strict=True)
            ),
        )
        for curve in curves
    ]
    return line_chart("Dose and response", lines, "share of the present dose", "KL, nats")


def _along(along: Along) -> str:
    return bar_strip(along.title, along.tokens, along.kl, "KL, nats")
