"""Single options that several commands have, and the names that they stand for by default."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

MODEL = "smollm2-135m"
DICTIONARY = "smollm2-135m/resid_post.20"
SEEDS = 2**63 - 1
"""As `steer.maths.numbers` has it, which would bring torch along."""
EARLY = "smollm2-135m/resid_post.10"

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document for machines.")]
ModelName = Annotated[
    str, typer.Option("--model", help="smollm2-135m, a folder, or a hub id org/name.")
]
DictionaryName = Annotated[str, typer.Option("--dictionary", help="A catalogue name or a folder.")]
Dtype = Annotated[str, typer.Option("--dtype", help="float32, bfloat16 or float16.")]
WritingDtype = Annotated[
    str | None,
    typer.Option(
        "--dtype", help="By default bfloat16 where it is multiplied in hardware, else float32."
    ),
]
DeviceMap = Annotated[
    str | None,
    typer.Option("--device-map", help="auto, disk, cuda:1, ...: where weights lie."),
]
Quantize = Annotated[str | None, typer.Option("--quantize", help="4bit or 8bit weights.")]
StatedModel = Annotated[
    str | None, typer.Option("--model", help="A folder or a hub id; by default what FILE names.")
]
StatedDtype = Annotated[
    str | None, typer.Option("--dtype", help="By default FILE's model_dtype, or float32.")
]
Seed = Annotated[int, typer.Option("--seed", min=0, max=SEEDS, help="Of the sampling noise.")]
FEATURE = "ID"
FeatureId = Annotated[int, typer.Argument(metavar=FEATURE, help="A feature's index.")]


def _read(given: list[str]) -> list[str]:
    from apps.text_files import read_lines

    return [
        text
        for value in given
        for text in (read_lines(Path(value[1:])) if value.startswith("@") else [value])
    ]


Prompts = Annotated[
    list[str],
    typer.Argument(help="One or more texts, or @FILE with one a line.", callback=_read),
]
Top = Annotated[int, typer.Option(min=1, help="Features to show.")]
Draws = Annotated[int, typer.Option(min=0, help="Controls of each kind; 0 for none.")]
Where = Annotated[str, typer.Option("--positions", help="all, last, 3 or 1: (not the first).")]
"""Typed as `steer.edits.phrases.parse_positions` reads it."""
SourceName = Annotated[
    str, typer.Argument(help="A catalogue name, a folder (#5: its block 5) or hf://org/repo/path.")
]
