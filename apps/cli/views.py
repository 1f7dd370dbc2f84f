"""What the commands show, as rich renderables; no computation here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from apps.cli.output import error_said, records
from apps.cli.output import table as rows_table

if TYPE_CHECKING:
    from apps.labels.feature_card import FeatureCard
    from apps.studies.calibrate import DosePoint
    from dictionaries.beside.labels import Label
    from dictionaries.dictionary import Dictionary
    from steer.edits import Intervention
    from steer.effects.logits.result import LogitEffect
    from steer.features.activations import FeatureActivations
    from steer.model import Model
    from steer.runs.generate import Run
    from steer.splice.receipt import EditReceipt, Receipt

_LOST = 0.01
"""A share of an edit that is worth a word when the dtype did not hold it."""


def shown(token: str) -> str:
    """A token with its white space made visible."""
    return repr(token)[1:-1].replace(" ", "␣") if token.strip() != token else token


def run_view(run: Run) -> RenderableType:
    """Baseline and steered text side by side, and the receipt."""
    table = Table(expand=True, show_lines=False)
    table.add_column("baseline", ratio=1)
    table.add_column("steered", ratio=1)
    table.add_row(_continued(run.prompt, run.baseline.text), _continued(run.prompt, run.text))
    foot = Text(f"{run.model}, {run.dtype}{_settings(run)}", style="dim")
    return Group(table, receipt_view(run.receipt), error_view(run.interventions), foot)


def _continued(prompt: str, text: str) -> Text:
    return Text.assemble((prompt, "dim"), text)


def receipt_view(receipt: Receipt) -> RenderableType:
    """A row an edit; what did not act says why."""
    table = Table(title="receipt", title_justify="left", expand=True)
    for column in ("edit", "acted on", "activation", "re-encoded", "‖Δ‖/‖x‖", "remark"):
        table.add_column(column)
    for entry in receipt:
        name = f"{entry.kind} {entry.direction or entry.feature}"
        if entry.acted:
            table.add_row(
                name,
                f"{len(entry.acted_tokens)} of {entry.touched} tokens",
                f"{entry.before:.3g} → {entry.after:.3g}",
                "" if entry.reached is None else f"{entry.reached:.3g}",
                f"{entry.relative_dose:.2f}",
                _remark(entry),
            )
        else:
            table.add_row(
                Text(name, "bold red"), Text("nothing", "bold red"), "", "", "", entry.reason
            )
    return table


def _remark(entry: EditReceipt) -> str:
    """What there is to know about how an edit acted, the loss to a low dtype included."""
    lost = entry.held is not None and abs(1 - entry.held) >= _LOST
    said = [f"the dtype held {entry.held:.0%} of it"] if lost else []
    return "; ".join([*said, *([entry.note] if entry.note else [])])


def _settings(run: Run) -> str:
    """What the model's own generation_config did, if anything."""
    groups = (
        ("the model's own settings act", run.inherited.acting),
        ("left out of the model's own settings", run.inherited.left_out),
    )
    lines = [
        f"{what}: {', '.join(f'{name}={value}' for name, value in values.items())}"
        for what, values in groups
        if values
    ]
    return "".join(f"\n{line}" for line in lines)


def error_view(interventions: Sequence[Intervention]) -> Text:
    """A line an intervention: what became of what its dictionary does not explain."""
    lines = [f"{error_said([each.error])} at {each.dictionary}" for each in interventions]
    return Text("\n".join(dict.fromkeys(lines)))


def effects_views(found: LogitEffect) -> list[RenderableType]:
    """Means over the prompts, tokens, controls, and what the edits did."""
    rows = [
        {"measure": name, "mean": each.mean, "low": each.low, "high": each.high}
        for name, each in found.summary().items()
    ]
    targets = [
        {
            "token": shown(each.token),
            "Δ logit": str(each.delta_logit),
            "Δ log p": str(each.delta_logprob),
            "mean rank": each.rank,
            "edited": each.rank_edited,
        }
        for each in found.targets
    ]
    views: list[RenderableType] = [
        rows_table(rows, f"next token, {len(found.prompts)} prompts, nats"),
        effect_view(found),
    ]
    if targets:
        views.append(rows_table(targets, "targets"))
    if found.controls:
        views.append(rows_table(records(found.controls.to_frame()), "controls"))
    views += [_tally(found.receipts, number) for number in range(len(found.receipts[0]))]
    return [*views, error_view(found.interventions)]


def _tally(receipts: Sequence[Receipt], number: int) -> Text:
    """What one edit did over the prompts; in red if nothing."""
    entries = [receipt[number] for receipt in receipts]
    acted = [entry for entry in entries if entry.acted]
    first = entries[0]
    name = f"{first.kind} {first.direction or first.feature}"
    if not acted:
        return Text(f"{name} did nothing: {first.reason}", style="bold red")
    tokens = sum(len(entry.acted_tokens) for entry in acted)
    return Text(f"{name} acted on {tokens} tokens of {len(acted)} of {len(entries)} prompts")


def effect_view(effect: LogitEffect) -> RenderableType:
    """The most promoted and suppressed tokens."""
    table = Table(
        title=f"next token, KL(clean‖edited) {effect.kl.mean().item():.3f} nats",
        title_justify="left",
        expand=True,
    )
    for column in ("promoted", "Δ logit", "suppressed", "Δ logit"):
        table.add_column(column, justify="right" if column == "Δ logit" else "left")
    for up, down in zip(effect.promoted, effect.suppressed, strict=True):
        table.add_row(
            shown(up.token), f"{up.delta_logit:+.2f}", shown(down.token), f"{down.delta_logit:+.2f}"
        )
    return table


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
        table.add_row(str(position), shown(found.tokens[position]), "   ".join(cells) or note)
    return table


def _promoted(dictionary: Dictionary, model: Model, feature: int) -> str:
    statistics = dictionary.statistics
    if statistics is None or not statistics.promoted.numel():
        return ""
    return f" ({shown(model.token(int(statistics.promoted[feature, 0])))})"


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
        Text("promotes    " + "  ".join(shown(t) for t, _ in card.promoted)),
        Text("suppresses  " + "  ".join(shown(t) for t, _ in card.suppressed)),
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


def dose_view(points: Sequence[DosePoint]) -> RenderableType:
    """One row a dose."""
    table = Table()
    for column in ("‖Δ‖/‖x‖", "loss under the untouched model", "distinct word pairs", "texts"):
        table.add_column(column, justify="right")
    for point in points:
        row = f"{point.dose:.1f}", f"{point.loss:.2f}", f"{point.distinct:.2f}", str(point.texts)
        table.add_row(*row)
    return table


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
