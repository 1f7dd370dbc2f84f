"""What Find shows, as HTML text."""

from __future__ import annotations

from collections.abc import Sequence

from apps.labels.feature_card import Context, FeatureCard
from apps.playground.find.ablation import AblationLoss
from apps.playground.find.contrast import Difference
from apps.playground.html.charts import histogram
from apps.playground.html.markup import esc, figure, visible
from apps.playground.html.words import WORDS, why
from apps.playground.studio.index import Card
from steer.features.activations import Activation
from steer.interpretation.find import Found, Hit


def hits_view(search: Found, *, busy: bool = False) -> str:
    """Features that a search found; a click adds one, its number opens its card.

    busy: whether the model had no time to read the words.
    """
    query = search.words.strip()
    if not query:
        return ""
    if not search.hits:
        return f'<p class="empty">{esc(search.note)}</p>'
    note = "The model is at work, so this is by labels and examples alone." if busy else search.note
    items = "".join(map(_hit, search.hits))
    return f'<ul class="hits" data-query="{esc(query)}">{items}</ul>' + (
        f'<p class="empty">{esc(note)}</p>' if note else ""
    )


def _hit(hit: Hit) -> str:
    both = hit.sides
    reads = f"<b>reads {esc(both.reads or 'nothing that is known')}</b>"
    writes = f"<span>writes {esc(both.writes or 'nothing that is known')}</span>"
    return (
        f'<li>{_id(hit.feature)}<button class="hit" data-act="add" data-feature="{hit.feature}">'
        f"{reads}{writes}<small>{esc(hit.why)}; {esc(both.effect)}</small></button></li>"
    )


def found_nothing_view() -> str:
    """In the place of a card, before one is opened."""
    return (
        '<p class="empty">Type into “Find a feature to edit”: a word of its label, a token that it '
        "fires on or promotes, a phrase of its examples, or its number. A click on a feature’s "
        "number opens its card here.</p>"
    )


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
    most = max(activation.activation for activation in top)
    rows = "".join(
        _bar(activation.feature, label, activation.activation / most, figure(activation.activation))
        for activation, label in zip(top, labels, strict=True)
    )
    return f'<h3>at <q>{visible(token)}</q></h3><ul class="bars">{rows}</ul>'


def _bar(feature: int, label: str, share: float, value: str) -> str:
    return (
        f'<li>{_id(feature)}<span class="label" data-tip="{esc(label)}">{esc(label)}</span>'
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
    known = card.facts
    figures = (_known(known) if known else "") + _figure("when ablated", *_loss(loss))
    return f"""
<article class="card" data-feature="{card.feature}" data-dictionary="{esc(card.dictionary)}">
 <header><div><h2>#{card.feature} <small>{esc(card.hookpoint)}</small></h2>
  <p class="label">{esc(card.label)}</p></div>
  <button class="go" data-act="add" data-feature="{card.feature}">Steer with it</button></header>
 <p class="empty">{esc(_both(card))}</p>{_returning(card)}
 <div class="figures">{figures}</div>
 {_statistics(known) if known else '<p class="empty">This dictionary has no statistics.</p>'}
 <h3>{why("neighbours", "nearest neighbours")}</h3><ul class="bars">{_neighbours(card)}</ul>
</article>"""


def _both(card: Card) -> str:
    both = card.sides
    return f"reads {both.reads or '–'}; writes {both.writes or '–'}; {both.effect}"


def _returning(card: Card) -> str:
    """Whether it comes back with another seed, where somebody trained others."""
    known = None if card.facts is None else card.facts.stability
    return "" if known is None else f'<p class="empty">{esc(str(known))}</p>'


def _known(facts: FeatureCard) -> str:
    return (
        _figure("active on", f"{facts.density:.3%}", f"of {facts.tokens:,} tokens")
        + _figure("maximum", figure(facts.maximum))
        + _figure("mean if active", figure(facts.mean))
    )


def _statistics(facts: FeatureCard) -> str:
    examples = "".join(map(_example, facts.contexts)) or '<p class="empty">No examples.</p>'
    return f"""
 <div class="three"><div><h3>{why("activation", "activations")}
   <small>but the highest 1%</small></h3>
   {histogram(_bins(facts))}</div>
  <div><h3>{why("promotes")}</h3>{_chips(facts.promoted)}</div>
  <div><h3>{why("suppresses")}</h3>{_chips(facts.suppressed)}</div></div>
 <h3>fires on</h3><div class="examples">{examples}</div>"""


def _bins(facts: FeatureCard) -> tuple[tuple[float, float, float], ...]:
    """(from, to, share of its active tokens) up to each quantile that was kept.

    The last one's tail up to the maximum is said in words: it is many times as long as the rest.
    """
    edges = [0.0, *facts.quantiles.values()]
    shares = [0.0, *(int(name[1:]) / 100 for name in facts.quantiles)]
    bins = zip(edges, edges[1:], shares, shares[1:], strict=False)
    return tuple((low, high, b - a) for low, high, a, b in bins if high > low)


def _figure(name: str, value: str, rest: str = "") -> str:
    said = why(name) if name in WORDS else esc(name)
    return f"<div><span>{said}</span><b>{esc(value)}</b><small>{esc(rest)}</small></div>"


def _loss(loss: AblationLoss | str | None) -> tuple[str, str]:
    if loss is None:
        return "…", "measuring the loss"
    if isinstance(loss, str):
        return "–", loss
    change = loss.ablated - loss.clean
    return f"{change:+.3f} nats", f"on the token after it, {loss.tokens} places in its examples"


def _chips(pairs: Sequence[tuple[str, float]]) -> str:
    named = ((visible(token), value) for token, value in pairs)
    items = "".join(
        f'<span class="chiplet" data-tip="{token}: logit {value:+.2f}">{token}</span>'
        for token, value in named
    )
    return (
        '<p class="chiplets" tabindex="0" role="group" aria-label="Tokens: arrow keys step through '
        f'them">{items}</p>'
    )


def _example(example: Context) -> str:
    top = max(example.activations, default=0.0) or 1.0
    tokens = "".join(
        f'<span class="t" style="--a0:{max(value, 0) / top:.2f}" '
        f'data-tip="{visible(token)}: {figure(value)}">{esc(token.replace(chr(10), "⏎"))}</span>'
        if value > 0
        else esc(token.replace("\n", "⏎"))
        for token, value in zip(example.tokens, example.activations, strict=True)
    )
    return (
        f'<p dir="auto" tabindex="0"><span class="num">{figure(top)}</span>'
        f"<span>{tokens}</span></p>"
    )


def _neighbours(card: Card) -> str:
    return "".join(
        _bar(
            neighbour.feature,
            neighbour.label,
            max(neighbour.cosine, 0.0),
            f"{neighbour.cosine:.2f}",
        )
        for neighbour in card.neighbours
    )
