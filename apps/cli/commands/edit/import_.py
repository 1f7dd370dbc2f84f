"""`steer import`: a steering vector of another tool."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from apps.cli.command import command
from apps.cli.options.run import Output
from apps.cli.output import table

if TYPE_CHECKING:
    from steer.edits import Intervention


@command("steer import happy.gguf --layer 14 --value 8 --out edit.json")
def import_(
    *,
    file: Annotated[
        Path, typer.Argument(help="repeng's .gguf, steering-vectors' .pt, or our .safetensors.")
    ],
    out: Annotated[Path, typer.Option(help="The JSON to write; --edit reads it.")],
    layer: Annotated[
        list[int] | None, typer.Option(help="Only this block; repeat it. All by default.")
    ] = None,
    value: Annotated[
        str, typer.Option(help='Of the vector: "2x vector", a length such as 8, "0.5x norm".')
    ] = "1x vector",
    positions: Annotated[
        str, typer.Option(help="Where it is added: all, prompt, generated, last, 3 or 2:5.")
    ] = "all",
    output: Output,
) -> None:
    """An intervention from a steering vector made by another tool.

    A file with vectors for several blocks gives an intervention a block, each in a file of its
    own: edit.resid_post.13.json and so on.
    """
    from dictionaries.files.place import writable_file
    from steer.edits.phrases import parse_positions
    from steer.exchange.vector_files import read_vectors

    where = parse_positions(positions)
    interventions = read_vectors(file, layer, value=value, positions=where)
    single = len(interventions) == 1
    paths = [out if single else _named(out, intervention) for intervention in interventions]
    writable_file(out)
    for intervention, path in zip(interventions, paths, strict=True):
        intervention.save(path)
    document = [
        {"written": str(path), "digest": own.digest, "intervention": own.to_dict()}
        for own, path in zip(interventions, paths, strict=True)
    ]
    rows = [
        {
            "written": str(path),
            "site": own.dictionary,
            "edit": f"{own.edits[0].kind} {value}",
            "positions": positions,
            "digest": own.digest,
        }
        for own, path in zip(interventions, paths, strict=True)
    ]
    use = "use: steer generate PROMPT " + " ".join(f"--edit {path}" for path in paths)
    output.emit(document, lambda: [table(rows), use])


def _named(out: Path, intervention: Intervention) -> Path:
    return out.with_name(f"{out.stem}.{intervention.dictionary}{out.suffix}")
