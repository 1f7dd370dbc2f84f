"""What the commands that look show: features, and the dictionaries that they are of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from apps.cli.output import table as rows_table
from steer.lm.hookpoints import KINDS
from steer.shown import visible

if TYPE_CHECKING:
    from apps.labels.feature_card import FeatureCard
    from dictionaries.beside.labels import Label
    from dictionaries.dictionary import Dictionary
    from steer.features.activations import FeatureActivations
    from steer.lm.anatomy import Anatomy
    from steer.model import Model


def features_view(
    found: FeatureActivations, dictionary: Dictionary, model: Model, top: int
) -> RenderableType:
    """Per token, its top features with the label of each, or else the token it promotes most."""
    table = Table(title=f"{found.dictionary}, {model.dtype}", title_justify="left")
    table.add_column("", justify="right")
    table.add_column("token")
    labels = dictionary.labels
    table.add_column("features: activation (label, or promotes)")
    for position, active in enumerate(found.top(top)):
        cells = []
        for each in active:
            label = labels.of(each.feature)
            said = f" ({label.text})" if label else _promoted(dictionary, model, each.feature)
            cells.append(f"{each.feature}: {each.activation:.1f}{said}")
        note = "massive activation, not shown" if position == 0 else "none active"
        table.add_row(str(position), visible(found.tokens[position]), "   ".join(cells) or note)
    return table


def _promoted(dictionary: Dictionary, model: Model, feature: int) -> str:
    statistics = dictionary.statistics
    if statistics is None or not statistics.promoted.numel():
        return ""
    return f" ({visible(model.token(int(statistics.promoted[feature, 0])))})"


def feature_view(card: FeatureCard) -> RenderableType:
    """Figures, promoted and suppressed tokens, and the strongest contexts."""
    title = f"feature {card.feature} of {card.dictionary}"
    quantiles = ", ".join(f"{name} {value:.1f}" for name, value in card.quantiles.items())
    figures = (
        f"active on {card.density:.3%} of {card.tokens:,} tokens; max {card.maximum:.1f}, "
        f"mean when active {card.mean:.1f}; {quantiles}"
    )
    lines: list[RenderableType] = [
        *(_label(label) for label in card.labels),
        Text(figures),
        Text("promotes    " + "  ".join(visible(t) for t, _ in card.promoted)),
        Text("suppresses  " + "  ".join(visible(t) for t, _ in card.suppressed)),
    ]
    lines += [_context(context.tokens, context.activations) for context in card.contexts]
    return Panel(Group(*lines), title=title, title_align="left")


def _label(label: Label) -> Text:
    measured = "" if label.f1 is None else f", F1 {label.f1:.2f}"
    made = ", ".join(filter(None, (label.source, label.method)))
    return Text.assemble((label.text, "bold"), (f"  ({made}{measured})", "dim"))


def _context(tokens: Sequence[str], activations: Sequence[float]) -> Text:
    top = max(activations, default=0.0)
    text = Text(f"{top:7.1f}  ", no_wrap=True, overflow="ellipsis")
    for token, activation in zip(tokens, activations, strict=True):
        style = "bold reverse" if activation == top > 0 else "bold" if activation > 0 else "dim"
        text.append(token.replace("\n", "⏎"), style)
    return text


def labelled(rows: Sequence[dict[str, Any]], dictionary: Dictionary) -> list[dict[str, Any]]:
    """The rows with what each feature is said to mean."""
    labels = [dictionary.labels.of(row["feature"]) for row in rows]
    return [
        {**row, "label": label.text if label else ""}
        for row, label in zip(rows, labels, strict=True)
    ]


def dictionaries_view(cards: Sequence[dict[str, Any]]) -> RenderableType:
    """One row a dictionary."""
    table = Table()
    columns = ("name", "width", "L0", "explained variance", "dead", "γ", "ΔCE (nats)", "trained on")
    for column in columns:
        table.add_column(column)
    for card in cards:
        table.add_row(
            card["name"],
            f"{card['width']:,}",
            f"{card['l0']:.1f}",
            f"{card['explained_variance']:.3f} (PCA {1 - card['pca_fvu']:.3f})",
            f"{card['dead_share']:.1%}",
            f"{card['shrinkage']:.3f}",
            f"{card['delta_ce']:.3f}",
            f"{card['train_tokens'] / 1e6:.1f}M tokens",
        )
    return table


def anatomy_view(anatomy: Anatomy) -> list[RenderableType]:
    """A line a kind of site and run of like blocks; why others are not there."""
    rows = [
        {
            "blocks": f"{run.start}" if len(run) == 1 else f"{run.start} to {run.stop - 1}",
            "site": kind,
            "width": place.width if place else None,
            "where": f"{place.side} of {place.path or 'the block'}" if place else "none",
            "why": "" if place else block.refused.get(kind, ""),
        }
        for run, block in anatomy.groups()
        for kind in KINDS
        for place in [block.sites.get(kind)]
    ]
    batches = "as alone" if anatomy.batches else "not as alone"
    padded = "as alone" if anatomy.pads else "not as alone: prompts are read one at a time"
    return [
        f"{anatomy.model}: {anatomy.depth} blocks at {anatomy.stack}",
        rows_table(rows),
        f"final norm: {anatomy.final_norm or 'none between the last block and the head'}",
        f"rows of a batch: {batches}; rows with padding: {padded}",
    ]
