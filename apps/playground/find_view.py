"""What Find shows, as HTML text."""

from __future__ import annotations

from collections.abc import Sequence

from apps.playground.ablation import AblationLoss
from apps.playground.charts import histogram
from apps.playground.contrast import Difference
from apps.playground.find import Card, Example, Hit
from apps.playground.markup import esc, figure, visible
from steer.features import Activation


def hits_view(hits: Sequence[Hit], query: str) -> str:
    """Features that a search found; a click adds one, its number opens its card."""
    if not query.strip():
        return ""
    if not hits:
        return f'<p class="empty">Nothing matches “{esc(query)}”. Try one word.</p>'
    items = "".join(
        f"<li>{_id(hit.feature)}"
        f'<button class="hit" data-act="add" data-feature="{hit.feature}"><b>{esc(hit.label)}</b>'
        f"<small>{esc(hit.why)}</small></button></li>"
        for hit in hits
    )
    return f'<ul class="hits">{items}</ul>'


def tokens_view(tokens: Sequence[str], chosen: int) -> str:
    """The text as tokens to click."""
    buttons = "".join(
        f'<button class="tok" data-act="token" data-position="{position}" '
        f'aria-pressed="{str(position == chosen).lower()}">{visible(token)}</button>'
        for position, token in enumerate(tokens)
    )
    return f'<div class="tokens" dir="auto">{buttons}</div>'


def top_view(top: Sequence[Activation], token: str, labels: Sequence[str]) -> str:
    """One token's strongest features."""
    if not top:
        return (
            '<p class="empty">The first token’s activation is massive whatever the text, so it is '
            "left out.</p>"
        )
    most = max(each.activation for each in top)
    rows = "".join(
        _bar(each.feature, label, each.activation / most, figure(each.activation))
        for each, label in zip(top, labels, strict=True)
    )
    return f'<h3>at <q>{visible(token)}</q></h3><ul class="bars">{rows}</ul>'


def _bar(feature: int, label: str, share: float, value: str) -> str:
    return (
        f'<li>{_id(feature)}<span class="label" title="{esc(label)}">{esc(label)}</span>'
        f'<i class="meter"><i style="width:{share:.1%}"></i></i>'
        f'<span class="num">{value}</span></li>'
    )


def _id(feature: int) -> str:
    return f'<button class="id" data-act="card" data-feature="{feature}">#{feature}</button>'


def contrast_view(one: Sequence[Difference], other: Sequence[Difference]) -> str:
    """Two columns: what is stronger in the first text, and in the second."""

    def column(title: str, rows: Sequence[Difference]) -> str:
        most = max((abs(row.one - row.other) for row in rows), default=1.0)
        items = "".join(
            _bar(
                row.feature,
                row.label,
                abs(row.one - row.other) / most,
                f"{figure(row.one)} / {figure(row.other)}",
            )
            for row in rows
        )
        return f'<div><h3>{title}</h3><ul class="bars">{items}</ul></div>'

    left = column("stronger in the first", one)
    return f'<div class="two">{left}{column("stronger in the second", other)}</div>'


def card_view(card: Card, loss: AblationLoss | str | None = None) -> str:
    """One feature. loss: measured, or a sentence that says why not, or None while it is coming."""
    figures = ""
    if card.maximum is not None and card.density is not None and card.mean is not None:
        figures = (
            f"{_figure('active on', f'{card.density:.3%}', f'of {card.tokens:,} tokens')}"
            f"{_figure('maximum', figure(card.maximum))}"
            f"{_figure('mean if active', figure(card.mean))}"
        )
    figures += _figure("when ablated", *_loss(loss))
    examples = "".join(_example(each) for each in card.examples) or (
        '<p class="empty">This dictionary ships no examples.</p>'
    )
    return f"""
<article class="card" data-feature="{card.feature}" data-dictionary="{esc(card.dictionary)}">
 <header><div><h2>#{card.feature} <small>{esc(card.hookpoint)}</small></h2>
  <p class="label">{esc(card.label)}</p></div>
  <button class="go" data-act="add" data-feature="{card.feature}">Steer with it</button></header>
 <div class="figures">{figures}</div>
 <div class="three"><div><h3>activations</h3>{histogram(card.histogram)}</div>
  <div><h3>promotes</h3>{_chips(card.promoted)}</div>
  <div><h3>suppresses</h3>{_chips(card.suppressed)}</div></div>
 <h3>fires on</h3><div class="examples">{examples}</div>
 <h3>nearest neighbours</h3><ul class="bars">{_neighbours(card)}</ul>
</article>"""


def _figure(name: str, value: str, rest: str = "") -> str:
    return f"<div><span>{name}</span><b>{esc(value)}</b><small>{esc(rest)}</small></div>"


def _loss(loss: AblationLoss | str | None) -> tuple[str, str]:
    if loss is None:
        return "…", "measuring the loss"
    if isinstance(loss, str):
        return "–", loss
    change = loss.ablated - loss.clean
    return f"{change:+.3f} nats", f"on the token after it, {loss.tokens} places in its examples"


def _chips(pairs: Sequence[tuple[str, float]]) -> str:
    items = "".join(
        f'<span class="chiplet" title="{value:+.2f}">{visible(token)}</span>'
        for token, value in pairs
    )
    return f'<p class="chiplets">{items}</p>'


def _example(example: Example) -> str:
    top = max(example.activations, default=0.0) or 1.0
    tokens = "".join(
        f'<span class="t" style="--a0:{max(value, 0) / top:.2f}" '
        f'title="{figure(value)}">{esc(token.replace(chr(10), "⏎"))}</span>'
        if value > 0
        else esc(token.replace("\n", "⏎"))
        for token, value in zip(example.tokens, example.activations, strict=True)
    )
    return f'<p dir="auto"><span class="num">{figure(top)}</span><span>{tokens}</span></p>'


def _neighbours(card: Card) -> str:
    return "".join(
        _bar(feature, label, max(cosine, 0.0), f"{cosine:.2f}")
        for feature, label, cosine in card.neighbours
    )
