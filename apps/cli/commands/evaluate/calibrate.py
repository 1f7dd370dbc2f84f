"""`steer calibrate`: how far features can be pushed."""

from __future__ import annotations

from typing import Annotated

import typer

from apps.cli.command import command
from apps.cli.options.run import Reading
from apps.cli.options.single import Seed
from apps.cli.output import error_said


@command("steer calibrate")
def calibrate(
    *,
    run: Reading,
    features: Annotated[int, typer.Option(min=1, help="How many random features.")] = 24,
    seed: Seed = 0,
) -> None:
    """How far features can be pushed before text falls apart."""
    from apps.cli.views.evaluate import dose_view
    from apps.studies.calibrate import calibrate as measure
    from apps.studies.calibrate import to_dicts

    with run.loaded() as (model, progress):
        dictionary = model.dictionary(run.dictionary)
        points = measure(model, dictionary, features=features, seed=seed, progress=progress)
    run.emit(to_dicts(points), lambda: [dose_view(points), error_said(["keep"])])
