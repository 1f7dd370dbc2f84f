"""`steer certify`: whether a released dictionary is what is published of it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from apps.cli.command import command
from apps.cli.options.run import Stated
from apps.cli.options.single import SourceName


@command("steer certify hf://org/repo/path --published figures.json --json")
def certify(
    *,
    name: SourceName,
    published: Annotated[
        str, typer.Option(metavar="FILE", help="What is published of it, as JSON.")
    ],
    text: Annotated[
        list[Path] | None,
        typer.Option(help="What to read; by default FILE's texts, or Python's docstrings."),
    ] = None,
    stated: Stated,
) -> None:
    """A verdict on a release beside its published figures; exit code 1 unless it agrees."""
    from apps.text_files import read_text
    from steer.certificates.certify import certify as run_certify
    from steer.certificates.published import read_published

    said = read_published(published)
    texts = [read_text(path) for path in text] if text else None
    run = stated.run(said.model, said.model_dtype)
    with run.loaded() as (loaded, _):
        certificate = run_certify(loaded, name, said, texts)
    run.emit(certificate.to_dict(), lambda: str(certificate))
    if not certificate.agrees:
        raise typer.Exit(1)
