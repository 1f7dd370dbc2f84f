"""What Measure shows, as HTML text."""

from __future__ import annotations

from collections.abc import Sequence

from apps.playground.html.charts import Line, Point, bar_strip, line_chart
from apps.playground.html.markup import esc, visible
from apps.playground.html.words import why, words_view
from apps.playground.measure.results import Along, Curve, Interval, Measured, Moved


def measured_view(measurement: Measured, stopped: bool = False) -> str:
    """Tables and charts of what the edits do, as far as it is measured."""
    partial = " data-partial" if measurement.coming and not stopped else ""
    kl = f"{why('KL')}(clean ‖ edited) of the next token, {why('nats')}"
    tables = _table(kl, _rows(measurement.kl))
    if measurement.difference:
        tables += _table("logit difference", _rows(measurement.difference))
        if measurement.wrong_way is not None and measurement.prompts > 1:
            tables += (
                f'<p class="count">{measurement.wrong_way:.0%} of the prompts moved it the other '
                "way</p>"
            )
    moved = "".join(
        _table(f"{title}, Δ {why('logit')}", _moved(rows))
        for title, rows in (
            ("promoted", measurement.promoted),
            ("suppressed", measurement.suppressed),
        )
    )
    along = "".join(map(_along, measurement.along))
    return f"""
<section class="measured"{partial}><p class="count">{_said(measurement, stopped)}</p>
 <div class="grid"><div>{tables}</div>{moved}{_curve(measurement.curves)}{along}</div>
</section>"""


def welcome_measure_view() -> str:
    """Before anything is measured: what it will be."""
    items = (
        (
            "In seconds",
            "which tokens the edits promote and suppress, and how far the prediction of the next "
            f"token moves ({why('KL')}): on one prompt, then on all",
        ),
        (
            "Then, beside controls",
            f"the same {why('dose', 'size')} of a {why('control')}: a feature that is active as "
            "often, a random direction, the edit with its sign turned, and in another block",
        ),
        (
            "Then, by dose",
            "the first three at a quarter of the present dose and up to twice, as curves",
        ),
        ("At last, along the texts", "where in both texts the prediction changes"),
    )
    listed = "".join(f"<div><dt>{name}</dt><dd>{said}</dd></div>" for name, said in items)
    words = words_view(("KL", "nats", "logit", "control", "dose", "interval"))
    return f'<dl class="words">{listed}</dl>{words}'


def _said(measurement: Measured, stopped: bool) -> str:
    prompts = "1 prompt" if measurement.prompts == 1 else f"{measurement.prompts} prompts"
    said = f"{prompts}, {esc(measurement.dtype)}"
    if measurement.dtype != "float32":
        said += " (for figures to publish: steer app --dtype float32)"
    if measurement.prompts > 1:
        said += f"; {why('interval', '95% intervals')} are bootstraps over them"
    if stopped:
        return f"{said} · stopped: what was there by then"
    return (
        f'{said} · <span class="coming">next: {esc(measurement.coming)}…</span>'
        if measurement.coming
        else said
    )


def _table(title: str, rows: str) -> str:
    return f"<table><caption>{title}</caption><tbody>{rows}</tbody></table>"


def _rows(values: Sequence[tuple[str, Interval]]) -> str:
    return "".join(
        f'<tr><th scope="row">{_name(name)}</th>{_cells(value)}</tr>' for name, value in values
    )


def _name(name: str) -> str:
    """A control says what it is for."""
    control = name.startswith(("control", "random", "sign turned", "in another block"))
    return why("control", name) if control else esc(name)


def _cells(value: Interval) -> str:
    ends = "" if value.low is None else f"{value.low:.3f} to {value.high:.3f}"
    return f'<td class="num">{value.mean:.3f}</td><td class="num soft">{ends}</td>'


def _moved(rows: Sequence[Moved]) -> str:
    return "".join(
        f'<tr><th scope="row">{visible(row.token)}</th>{_cells(row.change)}</tr>' for row in rows
    )


def _curve(curves: Sequence[Curve]) -> str:
    if not curves or len(curves[0].shares) < 2:
        return ""  # a line has two points
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
