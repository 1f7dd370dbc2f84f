"""The list of edits, and the examples, as HTML text."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from apps.playground.html.markup import esc, figure
from apps.playground.state.examples import Example
from apps.playground.state.form import amount_of
from apps.playground.state.setup import KINDS, Row
from steer.edits.phrases import show_condition, show_positions, show_schedule
from steer.edits.positions import NAMED
from steer.edits.schedules import SCHEDULES

SLIDERS = {"scale": (-2.0, 10.0), "add": (-6.0, 6.0)}
"""Ends of the amount slider by kind; any number can still be typed."""
_ORDINARY = (0.0, 6.0)
FLUENT = 3.0
"""Multiples of a feature's maximum beyond which most texts break."""
_VERBS = {
    "clamp": "clamp to",
    "add": "add",
    "scale": "scale by",
    "ablate": "ablate",
    "floor": "at least",
    "cap": "at most",
}


@dataclass(frozen=True)
class RowFacts:
    """What the page knows of a row's feature; maximum None without statistics."""

    label: str
    maximum: float | None
    density: float | None


def rows_view(rows: Sequence[Row], facts: Sequence[RowFacts], undo: bool, turn: int) -> str:
    """The edits as a form. turn: differs at every drawing, so that the page redraws."""
    cards = [
        _row(number, row, fact) for number, (row, fact) in enumerate(zip(rows, facts, strict=True))
    ]
    body = "".join(cards) or (
        '<p class="empty">No edits yet. Find a feature below by a word it fires on or promotes, '
        "by its number, or by a text.</p>"
    )
    lists = _datalist("positions", NAMED) + _datalist("schedules", (f"{s} 10" for s in SCHEDULES))
    disabled = "" if undo else " disabled"
    head = f'<button class="quiet" data-act="undo"{disabled}>Undo</button>'
    return (
        f'<section class="edits" data-turn="{turn}"><header><h2>Edits</h2>{head}</header>{body}'
        f"{lists}</section>"
    )


def _datalist(name: str, values: Iterable[str]) -> str:
    options = "".join(f'<option value="{value}">' for value in values)
    return f'<datalist id="{name}">{options}</datalist>'


def _row(number: int, row: Row, fact: RowFacts) -> str:
    plain = row.to_dict()
    name = f"#{plain['feature']}" if "feature" in plain else row.edit.kind.replace("_", " ")
    site = row.dictionary.rpartition("/")[2]
    unit = "max" if fact.maximum else "activation"
    mute = "Unmute" if row.muted else "Mute"
    when = show_condition(row.edit.when) if row.edit.when else ""
    schedule = show_schedule(row.edit.schedule) if row.edit.schedule else ""
    return f"""
<article class="edit{" muted" if row.muted else ""}" data-row="{esc(json.dumps(plain))}"
 data-number="{number}" data-unit="{unit}">
 <div class="title"><button class="id" data-act="card" title="Show its card">{esc(name)}</button>
  <span class="label" title="{esc(fact.label)}">{esc(fact.label)}</span>
  <button class="quiet" data-act="mute" aria-label="{mute} edit {number + 1}">{mute}</button>
  <button class="quiet" data-act="remove" aria-label="Remove edit {number + 1}">✕</button></div>
 <div class="controls">{_kind(row)}{_amount(row, fact)}</div>
 <details class="where"{_open(plain)}><summary>where and when<span class="site">{esc(site)}</span>
 </summary><div><label>tokens <input data-field="positions" list="positions"
  value="{esc(show_positions(row.edit.positions))}" aria-label="Which tokens"></label>
  <label>when <input data-field="when" value="{esc(when)}" placeholder="always"
  title="A feature's number: 7 · 7 > 2.5 · seen 3 · 7 and not seen 3" aria-label="When"></label>
  <label>over time <input data-field="schedule" list="schedules" value="{esc(schedule)}"
  placeholder="constant" aria-label="Strength over the generated tokens"></label></div></details>
</article>"""


def _open(row: dict[str, Any]) -> str:
    """What is not as usual is shown."""
    usual = row.get("positions", "all") == "all" and not {"when", "schedule"} & set(row)
    return "" if usual else " open"


def _kind(row: Row) -> str:
    kinds = KINDS if row.edit.kind in KINDS else (row.edit.kind,)
    options = "".join(
        f'<option value="{kind}"{" selected" if kind == row.edit.kind else ""}>'
        f"{esc(_VERBS.get(kind, kind))}</option>"
        for kind in kinds
    )
    return f'<select data-field="kind" aria-label="Kind of edit">{options}</select>'


def _amount(row: Row, fact: RowFacts) -> str:
    amount, unit = amount_of(row.edit)
    if amount is None:
        return '<span class="none" data-field="none"></span>'
    low, high = SLIDERS.get(row.edit.kind, _ORDINARY)
    if unit == "activation":
        high = max(high, 2 * abs(amount))
        low = -high if low < 0 else low
    scale = fact.maximum if unit == "max" and fact.maximum else 1.0
    value = f"{amount:g}"
    beyond = " beyond" if unit == "max" and abs(amount) > FLUENT else ""
    said = {"max": "× max", "times": "×", "activation": ""}.get(unit, f"× {unit}")
    reached = f"= {figure(amount * scale)}" if unit == "max" and fact.maximum else ""
    return (
        f'<input type="range" data-field="slide" min="{min(low, amount):g}" '
        f'max="{max(high, amount):g}" step="any" value="{value}" aria-label="Amount" '
        f'class="{beyond.strip()}">'
        f'<span class="value"><input type="number" data-field="amount" step="any" value="{value}" '
        f'data-unit="{esc(unit)}" data-scale="{scale:g}" aria-label="Amount">'
        f'<span class="unit">{esc(said)}</span><output>{reached}</output></span>'
    )


def examples_view(examples: Sequence[Example]) -> str:
    """States to click."""
    picks = "".join(
        f'<button class="pick" data-act="example" data-example="{number}">'
        f"<b>{esc(each.title)}</b><small>{esc(each.look)}</small></button>"
        for number, each in enumerate(examples)
    )
    return f'<h3>Worth a click</h3><div class="picks">{picks}</div>'
