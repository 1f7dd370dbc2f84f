"""`steer sweep`: the exact effect of every feature."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from apps.cli.command import command
from apps.cli.options.given import Given
from apps.cli.options.metric import Measured
from apps.cli.options.plot import Plot
from apps.cli.options.remote import AnyWork
from apps.cli.options.run import Reading
from apps.cli.options.single import Prompts, Top, Where

if TYPE_CHECKING:
    from steer.effects.sweep.controls import Against
    from steer.effects.sweep.screen import Screen


@dataclass(frozen=True)
class Chosen(Given):
    """What features are compared with, and which are run at all."""

    draws: Annotated[
        int, typer.Option(min=0, help="Controls of each of the 50 largest; 0 for none.")
    ] = 4
    control: Annotated[str, typer.Option(help="random or matched: what they are.")] = "random"
    screen: Annotated[
        int | None,
        typer.Option(min=1, help="Run only what could be among so many largest, by gradients."),
    ] = None

    @property
    def against(self) -> Against | None:
        from steer.effects.sweep.controls import Against

        return Against(self.control, self.draws) if self.draws else None

    @property
    def screened(self) -> Screen | None:
        from steer.effects.sweep.screen import Screen

        return Screen(self.screen) if self.screen else None


@command('steer sweep "John gave a drink to" --answer " Mary" --against " John"')
def sweep(
    *,
    prompts: Prompts,
    measured: Measured,
    clamp: Annotated[
        str | None, typer.Option(help="Clamp to this, such as '5x max', instead of ablating.")
    ] = None,
    positions: Where = "1:",
    work: AnyWork,
    budget: Annotated[int, typer.Option(min=1, help="MiB of tensors beside the model.")] = 512,
    chosen: Chosen,
    plot: Plot,
    run: Reading,
    top: Top = 20,
) -> None:
    """The exact effect of ablating each active feature. Metric: KL, or a logit (difference).

    Controls have a feature's ‖Δ‖ at each position; `significant` corrects for many features. A
    single prompt can't be: give ten or more. Shards run none, which come with the merged --file:
    say --draws alike in all.
    """
    from apps.cli.views.sweep import swept_view
    from steer.edits import Ablate, Clamp
    from steer.edits.phrases import parse_positions
    from steer.effects.sweep.ablation_sweep import ablation_sweep
    from steer.figures.effects import effect_bars
    from steer.shown import measured as in_words

    metric = measured.metric(prompts)
    work.check(("--plot", plot.plot))
    if not chosen.draws:
        chosen.refuse("--draws 0 runs no controls", "--control")
    if work.shard is not None:
        chosen.refuse("a shard shows no table: give it with --file after steer merge", "--top")
    work.beside(("--screen", chosen.screen))
    if work.remote is not None:
        chosen.refuse("sent passes are in batches of 32 rows", "--budget")
    with run.loaded() as (model, progress):
        swept = ablation_sweep(
            model,
            prompts,
            model.dictionary(run.dictionary),
            metric=metric,
            edit=Ablate if clamp is None else partial(Clamp, value=clamp),
            positions=parse_positions(positions),
            budget=budget * 2**20,
            screen=chosen.screened,
            against=chosen.against,
            **work.spread,
            progress=progress,
        )
    if work.told(run.emit):
        return
    plot.draw(lambda: effect_bars(swept, top))
    features = f"{swept.edit} each of {len(swept.features)} features"
    title = f"{features}: change of {in_words(swept.metric)}, {swept.dtype}"
    document = swept.to_dict(top)
    run.emit(document, lambda: swept_view(document, title))
