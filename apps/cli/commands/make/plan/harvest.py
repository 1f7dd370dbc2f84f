"""`steer plan harvest`: what activations of a corpus will cost."""

from __future__ import annotations

from typing import Annotated

import typer

from apps.cli.command import command
from apps.cli.options.machines import Machines
from apps.cli.options.run import Run
from apps.cli.options.single import MODEL


@command("steer plan harvest --tokens 4000000")
def harvest(
    *,
    tokens: Annotated[int, typer.Option(min=1, help="To read.")],
    layer: Annotated[int | None, typer.Option(min=0, help="The last block that is read.")] = None,
    sites: Annotated[int, typer.Option(min=1, help="That are kept.")] = 1,
    context: Annotated[int, typer.Option(min=2, help="Tokens of a context.")] = 256,
    machines: Machines,
    run: Run,
) -> None:
    """Bytes, operations, hours and machines of harvesting activations.

    Of the default model a sample is run here.
    """
    from apps.cli.views.plan import plan_view
    from steer.costs.rates import harvest_rate
    from steer.costs.shape import Shape
    from steer.costs.work import harvest_work

    shape = Shape.of(run.model)
    last = shape.depth - 1 if layer is None else layer
    work = harvest_work(
        shape,
        tokens=tokens,
        layer=last,
        sites=sites,
        context=context,
        dtype=run.quantize or run.dtype,
    )
    here = None
    if run.model == MODEL:
        with run.loaded() as (model, _):
            here = harvest_rate(model, [f"resid_post.{last}"], context)
    plan = machines.plan(work, here)
    run.emit(plan.to_dict(), lambda: plan_view(plan))
