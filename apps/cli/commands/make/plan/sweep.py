"""`steer plan sweep`: what an exact sweep will cost."""

from __future__ import annotations

from typing import Annotated

import typer

from apps.cli.command import command
from apps.cli.options.given import Given
from apps.cli.options.machines import Machines
from apps.cli.options.run import Run
from apps.cli.options.single import DICTIONARY, MODEL


@command("steer plan sweep --features 300 --prompts 24 --tokens 16")
def sweep(
    *,
    features: Annotated[int, typer.Option(min=1, help="That are run on a prompt.")],
    prompts: Annotated[int, typer.Option(min=1, help="How many.")],
    tokens: Annotated[int, typer.Option(min=2, help="Of a prompt.")] = 32,
    dictionary: Annotated[
        str | None, typer.Option(help="One that is here: then the rate is measured.")
    ] = None,
    layer: Annotated[int | None, typer.Option(min=0, help="Else the block behind it.")] = None,
    width: Annotated[int, typer.Option(min=1, help="And how many features it has.")] = 65_536,
    machines: Machines,
    run: Run,
    given: Given,
) -> None:
    """Bytes, operations, hours and machines of ablating features exactly.

    Of the default model, or with --dictionary, a sample is run here. Of any other the sizes are
    enough: a folder or a hub id with a config, or a model that is known, such as
    meta-llama/Llama-3.1-70B.
    """
    from apps.cli.views.plan import plan_view
    from steer.costs.rates import sweep_rate
    from steer.costs.shape import Shape
    from steer.costs.work import sweep_work
    from steer.effects.defaults import BUDGET
    from steer.lm.hookpoints import parse

    shape = Shape.of(run.model)
    named = dictionary or (DICTIONARY if run.model == MODEL and layer is None else None)
    here = None
    if named is not None:
        given.refuse(f"{named} says where it is and how wide", "--layer", "--width")
        with run.loaded() as (model, _):
            read = model.dictionary(named)
            layer, width = parse(model.site_of(read)).layer, read.width
            here = sweep_rate(model, read, tokens)
    work = sweep_work(
        shape,
        prompts=prompts,
        features=features,
        tokens=tokens,
        layer=shape.depth // 2 if layer is None else layer,
        width=width,
        dtype=run.quantize or run.dtype,
        budget=BUDGET,
    )
    plan = machines.plan(work, here)
    run.emit(plan.to_dict(), lambda: plan_view(plan))
