"""`steer merge`: shards of a job as one file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from apps.cli.command import command
from apps.cli.options.run import Output


@command("steer merge part-*.jsonl --out all.jsonl")
def merge(
    *,
    files: Annotated[list[Path], typer.Argument(help="What --shard wrote, in any order.")],
    out: Annotated[Path, typer.Option(help="A new file; .parquet for columns.")],
    output: Output,
) -> None:
    """Join the files of all shards of a job into what one process would have written.

    Shards of another run, one that is there twice, is missing or is not finished are refused.
    The command that made them, with --file and without --shard, then shows the results.
    A name in .parquet gets the rows as columns, of all shards or of one whole file.
    """
    from steer.disk.merge import merge as join

    whole = join(files, out)
    rows = sum(map(len, whole.units.values()))
    document = {"written": str(out), "units": len(whole.units), "rows": rows}
    output.emit(document, lambda: f"{len(whole.units)} units, {rows:,} rows; written: {out}")
