"""What the commands that look show: features, and the dictionaries that they are of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.text import Text

from apps.cli.fitted import Fitted
from apps.cli.output import table as rows_table
from apps.cli.views.context import Around
from steer.lm.hookpoints import KINDS
from steer.shown import number, visible

if TYPE_CHECKING:
    from apps.labels.feature_card import FeatureCard
    from dictionaries.beside.labels import Label
    from dictionaries.dictionary import Dictionary
    from steer.features.activations import FeatureActivations
    from steer.lm.anatomy import Anatomy
    from steer.model import Model


def features_view(
    read: FeatureActivations, dictionary: Dictionary, model: Model, top: int
) -> RenderableType:
    """Per token, its top features with the label of each, or else the token it promotes most."""
    rows: list[list[str | Text]] = []
    labels = dictionary.labels
    for position, active in enumerate(read.top(top)):
        cells = []
        for activation in active:
            label = labels.of(activation.feature)
            said = f" ({label.said})" if label else _promoted(dictionary, model, activation.feature)
            cells.append(f"{activation.feature}: {number(activation.activation)}{said}")
        note = "massive activation, not shown" if position == 0 else "none active"
        rows.append([str(position), visible(read.tokens[position]), "   ".join(cells) or note])
    heads = ("at", "token", "features: activation (label, or promotes)")
    return Fitted(heads, rows, f"{read.dictionary}, {model.precision}", frozenset({"at"}))


def _promoted(dictionary: Dictionary, model: Model, feature: int) -> str:
    statistics = dictionary.statistics
    if statistics is None or not statistics.promoted.numel():
        return ""
    return f" ({visible(model.token(int(statistics.promoted[feature, 0])))})"


def feature_view(card: FeatureCard) -> RenderableType:
    """Figures, promoted and suppressed tokens, what pushing does, and the strongest contexts."""
    title = f"feature {card.feature} of {card.dictionary}"
    quantiles = ", ".join(f"{name} {number(value)}" for name, value in card.quantiles.items())
    figures = (
        f"active on {card.density:.3%} of {card.tokens:,} tokens; max {number(card.maximum)}, "
        f"mean when active {number(card.mean)}; {quantiles}"
    )
    lines: list[RenderableType] = [
        *(_label(label) for label in card.labels),
        Text(figures),
        *([] if card.stability is None else [Text(str(card.stability))]),
        Text("promotes    " + "  ".join(visible(t) for t, _ in card.promoted)),
        Text("suppresses  " + "  ".join(visible(t) for t, _ in card.suppressed)),
        Text(f"effect      {card.sides.effect}"),
    ]
    lines += [Around(context.tokens, context.activations) for context in card.contexts]
    return Group(Text(title, "bold"), *lines)


def _label(label: Label) -> Text:
    measured = "" if label.f1 is None else f", F1 {label.f1:.2f}"
    side = f"{label.side:<12}"
    made = ", ".join(filter(None, (label.source, label.method)))
    return Text.assemble(side, (label.text, "bold"), (f"  ({made}{measured})", "dim"))


def labelled(rows: Sequence[dict[str, Any]], dictionary: Dictionary) -> list[dict[str, Any]]:
    """The rows with what each feature is said to mean."""
    labels = [dictionary.labels.of(row["feature"]) for row in rows]
    return [
        {**row, "label": label.said if label else ""}
        for row, label in zip(rows, labels, strict=True)
    ]


def dictionaries_view(cards: Sequence[dict[str, Any]]) -> RenderableType:
    """One row a dictionary."""
    return rows_table(
        [
            {
                "name": card["name"],
                "width": f"{card['width']:,}",
                "L0": card["l0"],
                "EV": card["explained_variance"],
                "EV by PCA": 1 - card["pca_fvu"],
                "dead": f"{card['dead_share']:.1%}",
                "γ": card["shrinkage"],
                "ΔCE, nats": card["delta_ce"],
                "tokens": f"{card['train_tokens'] / 1e6:.3g}M",
            }
            for card in cards
        ],
        under=[
            "EV: explained variance; tokens: that it was trained on",
            *(line for card in cards for line in _baselines(card)),
        ],
    )


def _baselines(card: dict[str, Any]) -> list[str]:
    """A line for each length of training of baselines of the same recipe; none if none is known."""
    by_samples: dict[int, list[str]] = {}
    for baseline in card.get("baselines", ()):
        told = f"{baseline['frozen']} frozen {number(baseline['explained_variance'])}"
        by_samples.setdefault(baseline["samples"], []).append(told)
    own = f"{number(card['explained_variance'])} of {card['samples_seen']:,} samples"
    return [
        f"EV of {card['name']} {own}; its recipe with {samples:,}: {', '.join(told)}"
        for samples, told in by_samples.items()
    ]


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
        *([] if anatomy.resumes else ["blocks hand on more than the stream: effects run them all"]),
    ]
