"""`steer attribution`: the effect of every feature, by gradients."""

from __future__ import annotations

from typing import Annotated

import typer

from apps.cli.command import command
from apps.cli.options.given import Given
from apps.cli.options.metric import Logit
from apps.cli.options.plot import Plot
from apps.cli.options.run import Reading
from apps.cli.options.single import Prompts, Top, Where
from apps.cli.output import error_said, table


@command('steer attribution "John gave a drink to" --answer " Mary" --against " John"')
def attribution(
    *,
    prompts: Prompts,
    logit: Logit,
    method: Annotated[str, typer.Option(help="atp or ig.")] = "atp",
    steps: Annotated[int, typer.Option(help="Of ig.")] = 10,
    exact: Annotated[bool, typer.Option(help="Compare with exact ablations.")] = False,
    plot: Plot,
    positions: Where = "1:",
    run: Reading,
    top: Top = 20,
    given: Given,
) -> None:
    """Estimated effect of every feature at once, from gradients; with --exact, how good it is."""
    from apps.cli.views.sweep import agreements
    from steer.edits.phrases import parse_positions
    from steer.effects.attribution import attribution as gradients
    from steer.effects.attribution.result import compare
    from steer.effects.sweep.ablation_sweep import ablation_sweep
    from steer.errors import SteerError
    from steer.figures.effects import agreement_scatter
    from steer.shown import measured

    if plot.plot is not None and not exact:
        raise SteerError("--plot draws the estimate against the exact effects: give --exact too")
    if method != "ig":
        given.refuse("it is of --method ig", "--steps")
    metric, where = logit.metric(prompts), parse_positions(positions)
    with run.loaded() as (model, progress):
        dictionary = model.dictionary(run.dictionary)
        estimate = gradients.attribution(
            model, prompts, dictionary, metric, method=method, steps=steps, positions=where
        )
        document = estimate.to_dict(top)
        if exact:
            swept = ablation_sweep(
                model, prompts, dictionary, metric=metric, positions=where, progress=progress
            )
            guesses = (estimate, "activation")
            document["agreement"] = [compare(guess, swept).to_dict() for guess in guesses]
            plot.draw(lambda: agreement_scatter(estimate, swept))
    title = f"{estimate.method}: estimated change of {measured(estimate.metric)}, {estimate.dtype}"
    run.emit(
        document,
        lambda: [
            table(document["features"], title),
            *agreements(document.get("agreement", ())),
            error_said([document["error"]]),
        ],
    )
