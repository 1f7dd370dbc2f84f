"""Interventions from and for other tools: `steer import`, `export` and `schema`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from apps.cli.edit_options import read_intervention
from apps.cli.options import EDIT, MODEL, Json, ModelName, load, positions_of
from apps.cli.output import emit, table
from apps.cli.progress import progress_bars

if TYPE_CHECKING:
    from steer.edits import Intervention

app = typer.Typer(no_args_is_help=True)


@app.command(
    "import",
    rich_help_panel=EDIT,
    epilog="Example: steer import happy.gguf --layer 14 --value 8 --out edit.json",
)
def import_vector(
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
    json_output: Json = False,
) -> None:
    """An intervention from a steering vector made by another tool.

    A file with vectors for several blocks gives an intervention a block, each in a file of its
    own: edit.resid_post.13.json and so on.
    """
    from steer.exchange.vector_files import read_vectors

    found = read_vectors(file, layer, value=value, positions=positions_of(positions))
    paths = [out] if len(found) == 1 else [_named(out, each) for each in found]
    _check_folder(out)
    for each, path in zip(found, paths, strict=True):
        each.save(path)
    data = [
        {"written": str(path), "digest": each.digest, "intervention": each.to_dict()}
        for each, path in zip(found, paths, strict=True)
    ]
    rows = [
        {
            "written": row["written"],
            "site": each.dictionary,
            "edit": f"{each.edits[0].kind} {value}",
            "positions": positions,
            "digest": each.digest,
        }
        for each, row in zip(found, data, strict=True)
    ]
    use = "use: steer generate PROMPT " + " ".join(f"--edit {path}" for path in paths)
    emit(json_output, data, lambda: [table(rows), use])


def _check_folder(out: Path) -> None:
    from steer.errors import SteerError

    if not out.parent.is_dir() or out.is_dir():
        raise SteerError(f"{out} can't be written: give a file in a folder that is there")


def _named(out: Path, each: Intervention) -> Path:
    return out.with_name(f"{out.stem}.{each.dictionary}{out.suffix}")


@app.command(
    rich_help_panel=EDIT, epilog="Example: steer export edit.json --to lm-eval --out steer.pt"
)
def export(
    edit: Annotated[Path, typer.Argument(help="An intervention saved as JSON.")],
    out: Annotated[Path, typer.Option(help="The file to write.")],
    to: Annotated[str, typer.Option(help="vector, lm-eval or neuronpedia.")] = "vector",
    model: ModelName = MODEL,
    json_output: Json = False,
) -> None:
    """Write an intervention in another tool's format, or say why it can't be said there."""
    from steer.exchange.formats import export_to

    intervention = read_intervention(edit)
    with progress_bars(not json_output) as progress:
        export_to(to, load(model, "float32", progress), intervention, out)
    emit(json_output, {"written": str(out), "to": to}, lambda: f"written: {out}")


@app.command(rich_help_panel=EDIT, epilog="Example: steer schema > intervention.schema.json")
def schema() -> None:
    """The JSON Schema of an intervention."""
    from steer.edits.schema import json_schema

    print(json.dumps(json_schema(), indent=1))
