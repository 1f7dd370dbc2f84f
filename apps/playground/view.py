"""The page's own pieces, as HTML text: data in, escaped HTML out; no text is rendered as markup."""

from __future__ import annotations

import html
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from apps.playground.examples import Example
from apps.playground.state import KINDS, Row, amount_of, show_positions
from apps.playground.tokens import Fluency, Shown, Texts
from steer.phrases import show_condition, show_schedule
from steer.positions import NAMED, Tokens
from steer.receipt import EditReceipt
from steer.schedules import SCHEDULES

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


def esc(text: object) -> str:
    """Text as HTML shows it, in an element or in a quoted attribute."""
    return html.escape(str(text), quote=True)


def visible(token: str) -> str:
    """A token with its white space made visible, escaped."""
    shown = token.replace("\n", "⏎").replace("\t", "⇥")
    if shown.strip() != shown:
        shown = shown.replace(" ", "␣")
    return esc(shown) or "∅"


def figure(value: float) -> str:
    """Three significant digits, without an exponent for the usual sizes."""
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"


def notice(text: str, kind: str = "info") -> str:
    """A sentence in the page. kind: info, warn or error."""
    role = "alert" if kind == "error" else "status"
    return f'<p class="notice {esc(kind)}" role="{role}">{esc(text)}</p>' if text else ""


# -- the list of edits -------------------------------------------------------------------------


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
    mute = "Unmute" if row.muted else "Mute"
    locked = isinstance(row.edit.positions, Tokens)
    disabled = " disabled" if locked else ""
    when = show_condition(row.edit.when) if row.edit.when else ""
    schedule = show_schedule(row.edit.schedule) if row.edit.schedule else ""
    return f"""
<article class="edit{" muted" if row.muted else ""}" data-row="{esc(json.dumps(plain))}"
 data-number="{number}">
 <div class="title"><button class="id" data-act="card" title="Show its card">{esc(name)}</button>
  <span class="label" title="{esc(fact.label)}">{esc(fact.label)}</span>
  <span class="site">{esc(site)}</span>
  <button class="quiet" data-act="mute" aria-pressed="{str(row.muted).lower()}">{mute}</button>
  <button class="quiet" data-act="remove" aria-label="Remove edit {number + 1}">✕</button></div>
 <div class="controls">{_kind(row)}{_amount(row, fact)}</div>
 <div class="where"><label>tokens <input data-field="positions" list="positions"
  value="{esc(show_positions(row.edit.positions))}"{disabled} aria-label="Which tokens"></label>
  <label>when <input data-field="when" value="{esc(when)}" placeholder="always"
  title="A feature's number: 7 · 7 > 2.5 · seen 3 · 7 and not seen 3" aria-label="When"></label>
  <label>over time <input data-field="schedule" list="schedules" value="{esc(schedule)}"
  placeholder="constant" aria-label="Strength over the generated tokens"></label></div>
</article>"""


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


# -- the two texts -----------------------------------------------------------------------------


def welcome_view() -> str:
    """Before the first run."""
    said = {
        "Baseline": "Press Run. The model continues the prompt here, untouched,",
        "Edited": "and here with the edits, with the same luck: what differs is the edits’ doing.",
    }
    panes = "".join(
        _pane(title, f'<span class="prompt">{text}</span>') for title, text in said.items()
    )
    return f'<section class="texts idle">{panes}</section>'


def streaming_view(prompt: str, baseline: str, edited: str, done: int, total: int) -> str:
    """Both texts as they come."""
    share = done / total if total else 0.0
    bar = f'<div class="bar"><i style="width:{share:.1%}"></i></div>'
    count = f"{done} of at most {total} tokens" if done else "reading the prompt…"
    panes = "".join(
        _pane(
            title,
            f'<span class="prompt">{esc(prompt)}</span>{esc(text)}<span class="caret"></span>',
        )
        for title, text in (("Baseline", baseline), ("Edited", edited))
    )
    return f'<section class="texts live">{bar}<p class="count">{count}</p>{panes}</section>'


def texts_view(texts: Texts, receipt: Sequence[EditReceipt], labels: Sequence[str]) -> str:
    """Both finished texts, coloured by an edited feature's activation, receipts on hover."""
    chips = "".join(
        f'<button class="chip" data-show="{number}" aria-pressed="{str(number == 0).lower()}">'
        f"{esc(label)}</button>"
        for number, label in enumerate(labels)
    )
    legend = f'<p class="legend">coloured by {chips}</p>' if labels else ""
    same = texts.baseline_text == texts.edited_text
    panes = _pane("Baseline", _tokens(texts.baseline), _loss(texts.fluency, 0))
    panes += _pane(
        "Edited", _tokens(texts.edited), "the same text" if same else _loss(texts.fluency, 1)
    )
    return f'<section class="texts" data-show="0">{legend}{panes}</section>' + receipt_view(receipt)


def _pane(title: str, body: str, remark: str = "") -> str:
    small = f"<small>{esc(remark)}</small>" if remark else ""
    return (
        f'<article class="pane {title.lower()}"><h3>{title}{small}</h3>'
        f'<div class="body" dir="auto" tabindex="0">{body}</div></article>'
    )


def _loss(fluency: Fluency | None, row: int) -> str:
    return f"{fluency.loss[row]:.2f} nats a token to the unedited model" if fluency else ""


def _tokens(tokens: Sequence[Shown]) -> str:
    return "".join(map(_token, tokens))


def _token(token: Shown) -> str:
    levels = ";".join(
        f"--a{n}:{level:.2f}" for n, level in enumerate(token.levels) if level >= 0.01
    )
    classes = "t" + (" prompt" if token.prompt else "") + (" acted" if token.acted else "")
    tip = f' data-tip="{esc(token.tip)}"' if token.tip else ""
    style = f' style="{levels}"' if levels else ""
    return f'<span class="{classes}"{style}{tip}>{esc(token.text)}</span>'


def receipt_view(receipt: Sequence[EditReceipt]) -> str:
    """A line an edit: on how many tokens it acted, and by how much; or why it did not."""
    if not receipt:
        return ""
    rows = "".join(_receipt(entry) for entry in receipt)
    heads = "<th>edit</th><th>tokens</th><th>activation</th><th>re-encoded</th><th>‖Δ‖ / ‖x‖</th>"
    return f"""<table class="receipt"><caption>Receipt</caption>
<thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>"""


def _receipt(entry: EditReceipt) -> str:
    feature = f" #{entry.feature}" if entry.feature is not None else ""
    name = f"<th>{esc(entry.kind)}{feature}</th>"
    if not entry.acted:
        return (
            f'<tr class="silent">{name}<td colspan="4">did nothing: {esc(entry.reason)}</td></tr>'
        )
    reached = "–" if entry.reached is None else figure(entry.reached)
    note = f'<tr class="note"><td colspan="5">{esc(entry.note)}</td></tr>' if entry.note else ""
    return (
        f"<tr>{name}<td>{len(entry.acted_tokens)} of {entry.touched}</td>"
        f"<td>{figure(entry.before or 0)} → {figure(entry.after or 0)}</td>"
        f"<td>{reached}</td><td>{entry.relative_dose or 0:.2f}</td></tr>{note}"
    )


def warnings_view(texts: Texts, receipt: Sequence[EditReceipt]) -> str:
    """Sentences about edits that never acted, and about a text that fell apart."""
    found = [
        notice(f"{entry.kind} #{entry.feature} did nothing: {entry.reason}.", "warn")
        for entry in receipt
        if not entry.acted
    ]
    if texts.fluency and (problem := texts.fluency.problem):
        found.append(notice(problem, "warn"))
    return "".join(found)
