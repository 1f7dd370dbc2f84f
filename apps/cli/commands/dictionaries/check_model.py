"""`steer check-model`: where a model's sites are, as measured."""

from __future__ import annotations

from typing import Annotated

import typer

from apps.cli.command import command
from apps.cli.options.run import Output


@command("steer check-model smollm2-135m --json")
def check_model(
    *,
    name: Annotated[
        str, typer.Argument(metavar="MODEL", help="smollm2-135m, a folder, or a hub id org/name.")
    ],
    output: Output,
) -> None:
    """Which sites a model has, each checked on a few tokens, and why it lacks the others."""
    from apps.cli.views.look import anatomy_view
    from steer.loading import load

    with output.progress() as progress:
        anatomy = load(name, progress=progress).anatomy
    output.emit(anatomy.to_dict(), lambda: anatomy_view(anatomy))
