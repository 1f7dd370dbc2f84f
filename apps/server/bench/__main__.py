"""`python -m apps.server.bench together speed --rounds 7`: one part after the other."""

from __future__ import annotations

import json
import tempfile
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from apps.server.bench.scores import scores
from apps.server.bench.soak import soak
from apps.server.bench.speed import speed
from apps.server.bench.started import NAME, started
from apps.server.bench.together import together
from steer.edits import Ablate, Clamp, Intervention, Scale
from steer.loading import load

_EDITS = {
    "longer": Intervention(NAME, [Clamp(1176, "2x max")]),
    "without": Intervention(NAME, [Ablate(feature) for feature in (143, 1092, 516, 5386)]),
    "early": Intervention("smollm2-135m/resid_post.10", [Scale(657, 3.0)]),
}
"""Those that `scores` compares."""


class Part(StrEnum):
    """What can be measured."""

    together = "together"
    speed = "speed"
    scores = "scores"
    soak = "soak"


def main(
    parts: Annotated[list[Part], typer.Argument(help="What to measure.")],
    rounds: Annotated[int, typer.Option(min=1, help="Pairs of `speed`.")] = 7,
    documents: Annotated[int, typer.Option(min=1, help="Of each task of `scores`.")] = 50,
    dtype: Annotated[str, typer.Option(help="Of the server and of what is beside it.")] = "float32",
    tokens: Annotated[int, typer.Option(min=1, help="Of a text of `together`.")] = 40,
    minutes: Annotated[float, typer.Option(help="Of `soak`.")] = 30.0,
    out: Annotated[
        Path | None,
        typer.Option(
            help="A folder for scores.jsonl and soak.jsonl, whose lines are written as they come; "
            "scores that are there are not measured again."
        ),
    ] = None,
) -> None:
    """Measure the server on this machine; prints a JSON document a part."""
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as unkept:
        results = out or Path(unkept)
        results.mkdir(parents=True, exist_ok=True)
        for name, edit in _EDITS.items():
            edit.save(Path(folder) / f"{name}.json")
        model = load("smollm2-135m", dtype=dtype)
        with started("--edits", folder, "--dtype", dtype) as target:
            for part in parts:
                figures: Any
                match part:
                    case Part.together:
                        figures = together(target, model, tokens)
                    case Part.speed:
                        figures = speed(target, model, rounds)
                    case Part.scores:
                        figures = scores(
                            target, model, Path(folder), documents, results / "scores.jsonl"
                        )
                    case Part.soak:
                        figures = soak(target, minutes, results / "soak.jsonl")
                print(json.dumps({part.value: figures}, indent=1), flush=True)


if __name__ == "__main__":
    typer.run(main)
