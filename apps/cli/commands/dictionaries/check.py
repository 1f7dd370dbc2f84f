"""`steer check`: was a dictionary loaded as it was meant?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from apps.cli.command import command
from apps.cli.options.given import Given
from apps.cli.options.run import Run
from apps.cli.options.single import DICTIONARY, SourceName


@command("steer check smollm2-135m/resid_post.20 --text novel.txt")
def check(
    *,
    name: SourceName = DICTIONARY,
    run: Run,
    text: Annotated[
        list[Path] | None, typer.Option(help="What to read; Python's docstrings by default.")
    ] = None,
    full: Annotated[
        bool, typer.Option("--full", help="Measure SAEBench's core metrics instead.")
    ] = False,
    outliers: Annotated[
        bool,
        typer.Option(
            "--outliers",
            help="With --full: first tokens and massive activations too, as SAEBench does.",
        ),
    ] = False,
    given: Given,
) -> None:
    """Whether a dictionary was loaded as it was meant, on real tokens; exit code 1 if not."""
    from apps.text_files import read_text
    from steer.quality.check import check as run_check

    if not full:
        given.refuse("it is of --full", "--outliers")

    texts = [read_text(path) for path in text] if text else None
    if full:
        _full_check(run, name, texts, outliers)
        return
    with run.loaded() as (model, _):
        verdict = run_check(model, name, texts)
    run.emit(verdict.to_dict(), lambda: str(verdict))
    if not verdict.passed:
        raise typer.Exit(1)


def _full_check(run: Run, name: str, texts: Sequence[str] | None, outliers: bool) -> None:
    from steer.quality.core_metrics import full_check

    with run.loaded() as (model, progress):
        metrics = full_check(model, name, texts, outliers=outliers, progress=progress).to_dict()
    lines = [f"{key}: {value}" for group in metrics.values() for key, value in group.items()]
    run.emit(metrics, lambda: "\n".join(lines))
