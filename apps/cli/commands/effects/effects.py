"""`steer effects`: what an edit does to the next token."""

from __future__ import annotations

from typing import Annotated

import typer

from apps.cli.command import command
from apps.cli.options.edits import Edits
from apps.cli.options.metric import Measured
from apps.cli.options.plot import Plot
from apps.cli.options.remote import Elsewhere
from apps.cli.options.run import Reading
from apps.cli.options.single import Draws, Prompts
from apps.cli.output import records


@command('steer effects "The old bridge" --clamp 123=5x --target " river"')
def effects(
    *,
    prompts: Prompts,
    edits: Edits,
    target: Annotated[list[str] | None, typer.Option(help="Tokens to report on.")] = None,
    measured: Measured,
    draws: Draws = 8,
    elsewhere: Elsewhere,
    plot: Plot,
    run: Reading,
) -> None:
    """What an edit does to the next token, with intervals over prompts and with controls.

    Example, which features make it say " Mary"?

    \b
    P="When Mary and John went to the store, John gave a drink to"
    steer sweep "$P" --answer " Mary" --against " John"
    steer attribution "$P" --answer " Mary" --against " John" --exact
    steer ioi --pairs 24 --plot ioi.html
    steer effects "$P" --ablate 2843 --answer " Mary" --against " John"

    The first ablates every active feature; the second estimates the same by
    gradients and says how far to trust that; the third does both over random
    names, against random directions; the last is one of them in detail.

    Over 24 name pairs the model is right in 100%, by 4.81 logits. Ablating
    2843 changes that by -0.98 [-1.08, -0.88], a random direction of its size
    by 0.13; 21 of 1,665 features exceed random directions. Gradient times
    activation agrees with exact ablation (Pearson 0.92, Spearman 0.97, 83% of
    the largest 10); the activation alone does not (0.18, 0.07, 9%).
    """
    from dataclasses import asdict

    from apps.cli.views.effects import effects_views
    from steer.effects.logits.logit_effect import logit_effect
    from steer.figures.effects import effect_figure

    metric, interventions = measured.metric(prompts), edits.interventions(run.dictionary)
    if len(interventions) > 1:
        edits.refuse("controls are of one intervention, and several act together", "--draws")
    with run.loaded() as (model, _):
        effect = logit_effect(
            model,
            prompts,
            interventions,
            tuple(target or ()),
            metric=None if metric == "kl" else metric,
            draws=draws if len(interventions) == 1 else None,
            if_silent="ignore",
            remote=elsewhere.server,
        )
    plot.draw(lambda: effect_figure(effect))
    document = {
        "error": [intervention.error for intervention in effect.interventions],
        "interventions": [intervention.to_dict() for intervention in effect.interventions],
        "summary": {name: asdict(value) for name, value in effect.summary().items()},
        "wrong_way": effect.wrong_way,
        "targets": [asdict(token) for token in effect.targets],
        "promoted": [asdict(token) for token in effect.promoted],
        "suppressed": [asdict(token) for token in effect.suppressed],
        "controls": records(effect.controls.to_frame()) if effect.controls else [],
        **({"remote": effect.remote} if effect.remote else {}),
        "receipts": [receipt.to_list() for receipt in effect.receipts],
    }
    run.emit(document, lambda: effects_views(effect))
