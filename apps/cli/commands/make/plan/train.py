"""`steer plan train`: what training a dictionary will cost."""

from __future__ import annotations

from typing import Annotated

import typer

from apps.cli.command import command
from apps.cli.options.machines import Machines
from apps.cli.options.run import Float32


@command("steer plan train --samples 4000000 --width 6144 --k 32")
def train(
    *,
    samples: Annotated[int, typer.Option(min=1, help="Activations seen in all.")],
    width: Annotated[int, typer.Option(min=1, help="Features.")],
    k: Annotated[int, typer.Option(min=1, help="Active features a token.")] = 32,
    batch: Annotated[int, typer.Option(min=1, help="Activations a step.")] = 2048,
    activations: Annotated[
        int | None, typer.Option(min=1, help="Distinct ones that there are; as many as samples.")
    ] = None,
    machines: Machines,
    run: Float32,
) -> None:
    """Bytes, operations, hours and machines of training a dictionary of the TopK family.

    A few steps on random activations are run here, where a quarter of the memory holds them.
    """
    from apps.cli.views.plan import plan_view
    from dictionaries.training.config import TrainConfig
    from steer.costs.rates import fits, train_rate
    from steer.costs.shape import Shape
    from steer.costs.work import train_work

    shape = Shape.of(run.model)
    config = TrainConfig(width=width, k=k, samples=samples, batch=batch)
    work = train_work(shape.d, samples=samples, width=width, k=k, batch=batch)
    here = train_rate(shape.d, config, activations) if fits(work.beside_bytes) else None
    plan = machines.plan(work, here)
    run.emit(plan.to_dict(), lambda: plan_view(plan))
