"""The list of edits, and the examples, as HTML text."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from apps.playground.html.markup import esc, figure
from apps.playground.html.words import WORDS, why
from apps.playground.state.examples import Example
from apps.playground.state.form import USUAL, amount_of
from apps.playground.state.groups import units
from apps.playground.state.setup import KINDS, Row
from steer.edits.phrases import show_condition, show_positions, show_schedule
from steer.edits.positions import NAMED
from steer.edits.schedules import SCHEDULES

ENDS = {"norm": 0.8, "max": 6.0, "mean": 12.0}
"""Upper ends of the amount slider by unit; any number can still be typed."""
FLUENT = {"norm": 0.5, "max": 3.0}
"""Amounts by unit beyond which most texts break."""
_UNITS = {"norm": "× norm", "max": "× max", "mean": "× mean", "activation": "activation"}
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
    cards, number = [], 0
    for unit in units(rows):
        single = unit[0].group is None
        cards.append(_row(number, unit[0], facts[number]) if single else _group(number, unit))
        number += len(unit)
    body = "".join(cards) or (
        '<p class="empty">No edits yet. Find a feature below by a word it fires on or promotes, '
        "by its number, or by a text.</p>"
    )
    twice = " data-twice" if _twice(rows) else ""
    lists = _datalist("positions", NAMED) + _datalist("schedules", (f"{s} 10" for s in SCHEDULES))
    disabled = "" if undo else " disabled"
    head = f'<button class="quiet" data-act="undo"{disabled}>Undo</button>'
    return (
        f'<section class="edits" data-turn="{turn}"{twice}><header>'
        f"<h2>{why('edit', 'Edits')}</h2>{head}</header>{body}"
        f"{lists}</section>"
    )


def _twice(rows: Sequence[Row]) -> bool:
    """Whether a feature is edited more than once."""
    plain = [row.to_dict() for row in rows if not row.muted]
    features = [(row["dictionary"], row["feature"]) for row in plain if "feature" in row]
    return len(set(features)) < len(features)


def _datalist(name: str, values: Iterable[str]) -> str:
    options = "".join(f'<option value="{value}">' for value in values)
    return f'<datalist id="{name}">{options}</datalist>'


def _row(number: int, row: Row, fact: RowFacts) -> str:
    plain = row.to_dict()
    name = f"#{plain['feature']}" if "feature" in plain else row.edit.kind.replace("_", " ")
    site = row.dictionary.rpartition("/")[2]
    mute = "Unmute" if row.muted else "Mute"
    when = show_condition(row.edit.when) if row.edit.when else ""
    schedule = show_schedule(row.edit.schedule) if row.edit.schedule else ""
    return f"""
<article class="edit{" muted" if row.muted else ""}" data-row="{esc(json.dumps(plain))}"
 data-number="{number}" data-unit="norm">
 <div class="title">{_id(name)}
  <span class="label">{esc(fact.label)}</span>
  <button class="quiet" data-act="mute" aria-label="{mute} edit {number + 1}">{mute}</button>
  <button class="quiet" data-act="remove" aria-label="Remove edit {number + 1}">✕</button></div>
 <div class="controls">{_kind(row)}{_amount(row, fact)}</div>
 <details class="where"{_open(plain)}><summary>where and when<span class="site">{esc(site)}</span>
 </summary><div><label>tokens <input data-field="positions" list="positions"
  value="{esc(show_positions(row.edit.positions))}" aria-label="Which tokens"></label>
  <label>when <input data-field="when" value="{esc(when)}" placeholder="always"
  data-tip="A feature's number: 7 · 7 > 2.5 · seen 3 · 7 and not seen 3" aria-label="When"></label>
  <label>over time <input data-field="schedule" list="schedules" value="{esc(schedule)}"
  placeholder="constant" aria-label="Strength over the generated tokens"></label></div></details>
</article>"""


def _group(number: int, unit: Sequence[Row]) -> str:
    """All edits towards a word, with the one amount of them all."""
    group = unit[0].group
    assert group is not None
    plain = [row.to_dict() for row in unit]
    word, site = esc(group.word), unit[0].dictionary.rpartition("/")[2]
    mute = "Unmute" if unit[0].muted else "Mute"
    features = "".join(
        f'<button class="id" data-act="card" data-feature="{row["feature"]}">'
        f"#{row['feature']}</button>"
        for row in plain
        if "feature" in row
    )
    marks = (("weak", group.visible / 2), ("visible", group.visible), ("breaking", group.breaking))
    high = 1.2 * group.breaking
    named = "".join(
        f'<button class="quiet" data-dose="{dose:.3g}" aria-label="{name}: {dose:.2g}" '
        f'style="left:{dose / high:.1%}">{name}</button>'
        for name, dose in marks
    )
    value = f"{group.dose:.3g}"
    return f"""
<article class="edit group{" muted" if unit[0].muted else ""}" data-rows="{esc(json.dumps(plain))}"
 data-number="{number}">
 <div class="title"><span class="label">towards <b>{word}</b></span>
  <button class="quiet" data-act="mute" aria-label="{mute} {word}">{mute}</button>
  <button class="quiet" data-act="remove" aria-label="Remove {word}">✕</button></div>
 <div class="controls"><span class="label soft">{len(unit)} {why("feature", "features")} at</span>
  <input type="range" data-field="slide" min="0.01" max="{high:.3g}" step="any"
  value="{value}" aria-label="Dose, by sliding">
  <span class="value"><input type="number" data-field="amount" step="any" value="{value}"
  data-unit="norm" data-fluent="{group.breaking:.3g}" aria-label="Dose">
  <span class="unit">{why("norm", "× norm")}</span><output></output></span>
  <div class="marks">{named}</div></div>
 <details class="where"><summary>its features<span class="site">{esc(site)}</span></summary>
  <p class="ids">{features}</p>{_fading(unit[0])}</details>
</article>"""


def _fading(row: Row) -> str:
    """How a group's strength goes over the generated tokens."""
    if row.edit.schedule is None:
        return ""
    return f"<p>strength over the generated tokens: {esc(show_schedule(row.edit.schedule))}</p>"


def _id(name: str) -> str:
    return f'<button class="id" data-act="card" aria-description="its card">{esc(name)}</button>'


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
    low, high = _ends(row.edit.kind, unit, amount, fact)
    scale = fact.maximum if unit == "max" and fact.maximum else 1.0
    fluent = FLUENT.get(unit, math.inf)
    value = f"{amount:g}"
    reached = f"= {figure(amount * scale)}" if unit == "max" and fact.maximum else ""
    return (
        f'<input type="range" data-field="slide" min="{min(low, amount):g}" '
        f'max="{max(high, amount):g}" step="any" value="{value}" aria-label="Amount, by sliding" '
        f'class="{"beyond" if abs(amount) > fluent else ""}">'
        f'<span class="value"><input type="number" data-field="amount" step="any" value="{value}" '
        f'data-unit="{esc(unit)}" data-scale="{scale:g}" data-fluent="{fluent:g}" '
        f'aria-label="Amount">{_unit(unit, fact)}<output>{reached}</output></span>'
    )


def _ends(kind: str, unit: str, amount: float, fact: RowFacts) -> tuple[float, float]:
    """Of the slider."""
    if kind == "scale":
        return -2.0, 10.0
    high = ENDS.get(unit, 3 * fact.maximum if fact.maximum else 2 * abs(amount) or 10.0)
    return (-high if kind == "add" else 0.0), high


def _unit(unit: str, fact: RowFacts) -> str:
    """What the amount is counted in, to be chosen where there is a choice."""
    if unit == "times":
        return '<span class="unit">×</span>'
    named = {**_UNITS, unit: _UNITS.get(unit, f"× {unit}")}
    if fact.maximum is None:
        named = {name: said for name, said in named.items() if name not in ("max", "mean")}
    options = "".join(
        f'<option value="{esc(name)}" data-amount="{_usual(name, fact):g}"'
        f"{' selected' if name == unit else ''}>{esc(said)}</option>"
        for name, said in named.items()
    )
    line = esc(WORDS.get(unit, WORDS["activation"]))
    return (
        f'<select data-field="unit" aria-label="Unit of the amount" data-tip="{line}">'
        f"{options}</select>"
    )


def _usual(unit: str, fact: RowFacts) -> float:
    """An amount to begin with, when the unit is chosen."""
    if unit == "activation" and fact.maximum:
        return float(f"{2 * fact.maximum:.3g}")
    return USUAL.get(unit, 1.0)


def dictionaries_view(names: Sequence[str], chosen: str) -> str:
    """The dictionaries to find features in; nothing where there is no choice."""
    if len(names) < 2:
        return ""
    options = "".join(
        f'<option value="{esc(name)}"{" selected" if name == chosen else ""}>{esc(name)}</option>'
        for name in names
    )
    head = f'<span class="head">{why("dictionary", "Dictionary")}</span>'
    return f'{head}<select data-choose aria-label="Dictionary">{options}</select>'


def examples_view(examples: Sequence[Example]) -> str:
    """States to click."""
    picks = "".join(
        f'<button class="pick" data-act="example" data-example="{number}">'
        f"<b>{esc(example.title)}</b><small>{esc(example.look)}</small></button>"
        for number, example in enumerate(examples)
    )
    return f'<h3>Worth a click</h3><div class="picks">{picks}</div>'
