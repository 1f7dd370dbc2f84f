"""The two texts and their receipt, as HTML text."""

from __future__ import annotations

from collections.abc import Sequence

from apps.playground.html.markup import esc, figure, notice
from apps.playground.html.words import why
from apps.playground.state.setup import MOST_ROWS
from apps.playground.steer.tokens import Fluency, Shown, Texts
from steer.splice.receipt import EditReceipt


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


def drawn_view(texts: str) -> str:
    """What a run draws into past Gradio: what it has to say, and the texts."""
    return f"<div data-said></div><div data-texts>{texts}</div>"


def waiting(before: int, seconds: float, beside: Sequence[str] = ()) -> str:
    """What is said before the first token: the place in the line, what else is done, since when."""
    what = f"{before} before you" if before else "reading the prompt…"
    if beside:
        what += f" · the model is also at work on {' and '.join(dict.fromkeys(beside))}"
    return f"{what} · {seconds:.0f} s" if seconds >= 1 else what


def waiting_view(prompt: str, said: str, texts: tuple[str, str] | None = None) -> str:
    """The prompt twice, or the texts that have come, and what is waited for."""
    return _live(prompt, texts or ("", ""), 1.0 if texts else 0.0, said)


def streaming_view(prompt: str, baseline: str, edited: str, done: int, total: int) -> str:
    """Both texts as they come."""
    return _live(prompt, (baseline, edited), done / total, f"{done} of at most {total} tokens")


def _live(prompt: str, texts: tuple[str, str], share: float, said: str) -> str:
    panes = "".join(
        _pane(
            title,
            f'<span class="prompt">{esc(prompt)}</span>{esc(text)}<span class="caret"></span>',
        )
        for title, text in zip(("Baseline", "Edited"), texts, strict=True)
    )
    bar = f'<div class="bar"><i style="width:{share:.1%}"></i></div>'
    return f'<section class="texts live">{bar}<p class="count">{esc(said)}</p>{panes}</section>'


_UNREAD = "not coloured: the run was cancelled, and its texts are too long to be read again at once"


def texts_view(texts: Texts, receipt: Sequence[EditReceipt], labels: Sequence[str]) -> str:
    """Both finished texts, coloured by an edited feature's activation, receipts on hover."""
    chips = "".join(
        f'<button class="chip" data-show="{number}" aria-pressed="{str(number == 0).lower()}">'
        f"{esc(label)}</button>"
        for number, label in enumerate(labels)
    )
    said = "underlined where an edit acted: point at a token, or step with ← →, for its receipt"
    by = f"coloured by {chips}" if texts.read else f"<span>{_UNREAD}</span>"
    legend = f'<p class="legend">{by}<span>{said}</span></p>' if labels else ""
    same = texts.baseline_text == texts.edited_text
    panes = _pane("Baseline", _tokens(texts.baseline), _loss(texts.fluency, 0))
    panes += _pane(
        "Edited", _tokens(texts.edited), "the same text" if same else _loss(texts.fluency, 1)
    )
    return f'<section class="texts" data-show="0">{legend}{panes}</section>' + receipt_view(receipt)


def _pane(title: str, body: str, remark: str = "") -> str:
    """body, remark: as HTML."""
    small = f"<small>{remark}</small>" if remark else ""
    return (
        f'<article class="pane {title.lower()}"><h3>{title}{small}</h3>'
        f'<div class="body" tabindex="0" role="group" aria-label="{title} text">'
        f'<div dir="auto">{body}</div></div></article>'
    )


def _loss(fluency: Fluency | None, row: int) -> str:
    if fluency is None:
        return ""
    return f"{fluency.loss[row]:.2f} {why('nats a token')} to the unedited model"


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
    """A line an edit: on how many tokens it acted, and by how much; or why it did not.

    Folded where a word's edits make it longer than the list of edits may be.
    """
    if not receipt:
        return ""
    rows = "".join(_receipt(entry) for entry in receipt)
    words = (why(word) for word in ("edit", "activation", "re-encoded", "‖Δ‖ / ‖x‖"))
    first, *rest = (f'<th scope="col">{word}</th>' for word in words)
    heads = f'{first}<th scope="col">tokens</th>{"".join(rest)}'
    table = f"""<table class="receipt"><caption>{why("receipt", "Receipt")}</caption>
<thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>"""
    if len(receipt) <= MOST_ROWS:
        return table
    acted = [entry for entry in receipt if entry.acted]
    tokens = len({at for entry in acted for at in entry.acted_tokens})
    said = f"{len(acted)} of {len(receipt)} edits acted, on {tokens} tokens: the receipt of each"
    return f'<details class="many"><summary>{said}</summary>{table}</details>'


def _receipt(entry: EditReceipt) -> str:
    feature = f" #{entry.feature}" if entry.feature is not None else ""
    name = f'<th scope="row">{esc(entry.kind)}{feature}</th>'
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
    notices = [
        notice(f"{entry.kind} #{entry.feature} did nothing: {entry.reason}.", "warn")
        for entry in receipt
        if not entry.acted
    ]
    if texts.fluency and (problem := texts.fluency.problem):
        notices.append(notice(problem, "warn"))
    return "".join(notices)
