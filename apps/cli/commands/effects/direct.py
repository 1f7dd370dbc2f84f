"""`steer direct`: the direct path of an effect, and the whole of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from apps.cli.command import command
from apps.cli.options.edits import OF_AN_EDIT, TextEdits
from apps.cli.options.metric import Measured
from apps.cli.options.plot import Plot
from apps.cli.options.run import Reading
from apps.cli.options.single import Draws, Prompts

if TYPE_CHECKING:
    from steer.effects.paths.result import PathEffects


@command('steer direct "She is taller" --clamp 1176=2x --answer " than"')
def direct(
    *,
    prompts: Prompts,
    edits: TextEdits,
    feature: Annotated[
        int | None,
        typer.Option(help="No edit: its decoder row times --amount, by the direct path alone."),
    ] = None,
    amount: Annotated[float, typer.Option(help="Of --feature.")] = 1.0,
    measured: Measured,
    draws: Draws = 8,
    plot: Plot,
    run: Reading,
    top: Annotated[int, typer.Option(min=1, help="Tokens to show.")] = 10,
) -> None:
    """An edit's total effect, its direct one, and the effect with parts of the model frozen.

    `random` and `matched`: the mean size of the same for controls with the edit's norm at the same
    tokens, along random directions and along features of its density.
    """
    from apps.cli.views.paths import direct_views
    from steer.effects.paths.direct import direct_logit_effect
    from steer.effects.paths.path_effects import path_effects
    from steer.errors import InterventionError
    from steer.figures.effects import path_bars, token_bars
    from steer.maths.numbers import check_number

    if feature is not None and edits.given:
        raise InterventionError("give either --feature or edits such as --clamp 123=5x, not both")
    if feature is None:
        edits.refuse("it is of --feature", "--amount")
    else:
        edits.refuse("--feature is no edit", *OF_AN_EDIT)
        of_metric = ("--answer", "--against", "--answers")
        edits.refuse("the direct effect of --feature is on every logit", *of_metric)
    check_number("--amount", amount)
    metric = measured.metric(prompts)
    with run.loaded() as (model, _):
        if feature is None:
            edit = edits.intervention(run.dictionary)
            paths = path_effects(model, prompts, edit, metric=metric, draws=draws)
            document = _plain(paths, top)
            plot.draw(lambda: path_bars(paths))
        else:
            alone = direct_logit_effect(
                model,
                model.dictionary(run.dictionary),
                feature,
                amount=amount,
                prompts=prompts,
                top=top,
                draws=draws,
            )
            document = alone.to_dict()
            plot.draw(lambda: token_bars(alone))
    run.emit(document, lambda: direct_views(document))


def _plain(paths: PathEffects, top: int) -> dict[str, Any]:
    return {
        **paths.to_dict(),
        "promoted": [token.to_dict() for token in paths.promoted(k=top)],
        "suppressed": [token.to_dict() for token in paths.suppressed(k=top)],
    }
