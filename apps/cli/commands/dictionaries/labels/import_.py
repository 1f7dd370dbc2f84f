"""`steer labels import`: labels from elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from apps.cli.command import command
from apps.cli.options.run import Output
from apps.cli.options.single import DICTIONARY, DictionaryName


@command("steer labels import batch-0.jsonl.gz")
def import_(
    *,
    file: Annotated[
        Path, typer.Argument(help="Neuronpedia's export (JSON, JSONL, a folder of batches) or CSV.")
    ],
    dictionary: DictionaryName = DICTIONARY,
    origin: Annotated[
        str | None, typer.Option(help="model/source, where the file holds several.")
    ] = None,
    output: Output,
) -> None:
    """Keep labels beside a dictionary; those of the same sources are replaced."""
    from dictionaries import catalogue
    from dictionaries.beside.labels import Labels
    from dictionaries.label_imports import read_labels

    imported = read_labels(file, origin)
    loaded = catalogue.load(dictionary)
    imported.check(loaded)
    folder = catalogue.find(dictionary)
    others = Labels.load(folder)
    for source in {label.source for label in imported.labels}:
        others = others.without_source(source)
    written = others.merged(imported.labels).save(folder)
    document = {
        "written": str(written),
        "imported": len(imported.labels),
        "blank": imported.blank,
        "kept": len(others),
    }
    line = f"{len(imported.labels)} labels imported, {imported.blank} rows without text left out"
    output.emit(document, lambda: f"{line}; written: {written}")
