"""What `steer effects` shows of the next token."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import RenderableType
from rich.text import Text

from apps.cli.fitted import HARD, Fitted
from apps.cli.output import ran_said, records, table
from apps.cli.views.edit import error_view
from steer.shown import measured, number, visible

if TYPE_CHECKING:
    from steer.effects.logits.result import LogitEffect
    from steer.splice.receipt import Receipt


def effects_views(effect: LogitEffect) -> list[RenderableType]:
    """Means over the prompts, tokens, controls, and what the edits did."""
    rows = [
        {"measure": name, "mean": measure.mean, "low": measure.low, "high": measure.high}
        for name, measure in effect.summary().items()
    ]
    targets = [
        {
            "token": visible(target.token),
            "Δ logit": str(target.delta_logit),
            "Δ log p": str(target.delta_logprob),
            "mean rank": target.rank,
            "edited": target.rank_edited,
            "wrong way": f"{target.wrong_way:.0%}",
        }
        for target in effect.targets
    ]
    views: list[RenderableType] = [
        table(rows, f"next token, {len(effect.prompts)} prompts, nats"),
        effect_view(effect),
    ]
    if effect.wrong_way is not None:
        views.append(Text(f"{effect.wrong_way:.0%} of the prompts moved the metric the other way"))
    if targets:
        views.append(table(targets, "targets"))
    if effect.controls:
        title = f"controls: change of {measured(effect.controls.metric)}"
        views.append(table(records(effect.controls.to_frame()), title))
    views += [_tally(effect.receipts, number) for number in range(len(effect.receipts[0]))]
    return [*views, error_view(effect.interventions), *ran_said({"remote": effect.remote})]


def _tally(receipts: Sequence[Receipt], number: int) -> Text:
    """What one edit did over the prompts; in red if nothing."""
    entries = [receipt[number] for receipt in receipts]
    acted = [entry for entry in entries if entry.acted]
    first = entries[0]
    name = f"{first.kind} {first.direction or first.feature}"
    if not acted:
        reasons = "; or ".join(dict.fromkeys(str(entry.reason) for entry in entries))
        return Text(f"{name} did nothing: {reasons}", style="bold red")
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
