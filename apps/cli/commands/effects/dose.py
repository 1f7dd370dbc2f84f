"""`steer dose`: effects against the dose of a clamp."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from apps.cli.command import command
from apps.cli.options.metric import Measured
from apps.cli.options.plot import Plot
from apps.cli.options.remote import AnyWork
from apps.cli.options.run import Reading
from apps.cli.options.single import FeatureId, Prompts, Where
from apps.cli.output import error_said, ran_said, records, table
from steer.shown import measured as in_words

if TYPE_CHECKING:
    from rich.console import RenderableType


@command('steer dose 123 "The weather was" --dose -2x --dose 1x --dose 5x')
def dose(
    *,
    feature: FeatureId,
    prompts: Prompts,
    dose: Annotated[list[str], typer.Option(help="5x (times its max) or 80; repeat it.")],
    neutral: Annotated[
        list[str] | None, typer.Option(help="Text whose loss limits the dose; repeat it.")
    ] = None,
    continuation: Annotated[
        int, typer.Option(min=0, help="Tokens to write, for loss and repetition; 0 for none.")
    ] = 24,
    plot: Plot,
    measured: Measured,
    positions: Where = "1:",
    work: AnyWork,
    run: Reading,
) -> None:
    """Effect, KL, loss and repetition against a clamp's dose; the strongest that costs 0.5 nats."""
    from steer.edits.phrases import parse_positions
    from steer.effects.dose.dose_response import dose_response
    from steer.figures.curves import dose_curves

    metric = measured.metric(prompts)
    work.check(("--plot", plot.plot))
    with run.loaded() as (model, progress):
        response = dose_response(
            model,
            prompts,
            model.dictionary(run.dictionary),
            feature,
            dose,
            metric=metric,
            positions=parse_positions(positions),
            neutral=neutral or (),
            continuation=continuation,
            **work.spread,
            progress=progress,
        )
    if work.told(run.emit):
        return
    plot.draw(lambda: dose_curves(response))
    document: dict[str, Any] = {
        "feature": feature,
        "metric": response.metric,
        "dtype": response.dtype,
        "error": response.error,
        **({"remote": response.remote} if response.remote else {}),
        "strongest": response.strongest(),
        "limit": response.limit,
        "asymmetry": records(response.asymmetry()),
        "doses": records(response.to_frame()),
    }
    run.emit(document, lambda: _views(document))


def _views(response: dict[str, Any]) -> list[RenderableType]:
    title = f"feature {response['feature']}, {response['dtype']}: {response['limit']}"
    said = (
        f"effect: change of {in_words(response['metric'])}; kl, delta ce, neutral ce, loss: nats; "
        "relative dose: ‖Δ‖/‖x‖; distinct: share of pairs of tokens"
    )
    asymmetry = response["asymmetry"]
    return [
        table(response["doses"], title, [said]),
        *([table(asymmetry, "effects at -d and +d")] if asymmetry else []),
        error_said([response["error"]]),
        *ran_said(response),
    ]
