"""What `steer effects` shows of the next token."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import RenderableType
from rich.text import Text

from apps.cli.fitted import HARD, Fitted
from apps.cli.output import records, table
from apps.cli.views.edit import error_view
from steer.shown import number, visible

if TYPE_CHECKING:
    from steer.effects.logits.result import LogitEffect
    from steer.splice.receipt import Receipt


def effects_views(found: LogitEffect) -> list[RenderableType]:
    """Means over the prompts, tokens, controls, and what the edits did."""
    rows = [
        {"measure": name, "mean": each.mean, "low": each.low, "high": each.high}
        for name, each in found.summary().items()
    ]
    targets = [
        {
            "token": visible(each.token),
            "Δ logit": str(each.delta_logit),
            "Δ log p": str(each.delta_logprob),
            "mean rank": each.rank,
            "edited": each.rank_edited,
            "wrong way": f"{each.wrong_way:.0%}",
        }
        for each in found.targets
    ]
    views: list[RenderableType] = [
        table(rows, f"next token, {len(found.prompts)} prompts, nats"),
        effect_view(found),
    ]
    if found.wrong_way is not None:
        views.append(Text(f"{found.wrong_way:.0%} of the prompts moved the metric the other way"))
    if targets:
        views.append(table(targets, "targets"))
    if found.controls:
        views.append(table(records(found.controls.to_frame()), "controls"))
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
    title = f"next token, KL(clean‖edited) {number(effect.kl.mean().item())} nats"
    rows = [
        [
            *(visible(up.token), f"{up.delta_logit:+.3g}"),
            *(visible(down.token), f"{down.delta_logit:+.3g}"),
        ]
        for up, down in zip(effect.promoted, effect.suppressed, strict=True)
    ]
    heads = ("promoted", "Δ logit", "suppressed", f"Δ{HARD}logit")
    return Fitted(heads, rows, title, frozenset(heads[1::2]))
