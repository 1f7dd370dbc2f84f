"""`steer demo`: one clamp on the default model."""

from __future__ import annotations

from typing import Annotated

import typer

from apps.cli.command import command
from apps.cli.options.run import DefaultRun


@command("steer demo --json")
def demo(
    *,
    run: DefaultRun,
    feature: Annotated[int | None, typer.Option(help="Another feature to clamp.")] = None,
    value: Annotated[str | None, typer.Option(help='Its value, such as "5x max".')] = None,
    prompt: Annotated[str | None, typer.Option(help="Another prompt.")] = None,
) -> None:
    """Clamp one feature of the default model and show what changes."""
    from apps.cli.views.demo import demo_view
    from apps.studies.demo import run_demo

    with run.loaded() as (model, _):
        result = run_demo(model, prompt, feature, value)
    run.emit(result.to_dict(), lambda: demo_view(result))
