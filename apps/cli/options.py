"""The options that commands share, and what they mean."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from steer.effects.metric import Metric
    from steer.model import Model
    from steer.progress import Progress

MODEL = "smollm2-135m"
DICTIONARY = "smollm2-135m/resid_post.20"
EARLY = "smollm2-135m/resid_post.10"

EDIT, LOOK, EFFECTS = "Edit", "Look", "Effects"
DICTIONARIES, EVALUATE, MAKE = "Dictionaries", "Evaluate", "Make"
"""The panels that `steer --help` groups the commands in."""

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document for machines.")]
ModelName = Annotated[
    str, typer.Option("--model", help="smollm2-135m, a folder, or a hub id org/name.")
]
DictionaryName = Annotated[str, typer.Option("--dictionary", help="A catalogue name or a folder.")]
Dtype = Annotated[str, typer.Option("--dtype", help="float32, bfloat16 or float16.")]
Seed = Annotated[int, typer.Option("--seed", help="Of the sampling noise.")]
FeatureId = Annotated[int, typer.Argument(metavar="ID", help="A feature's index.")]

Prompts = Annotated[list[str], typer.Argument(help="One or more texts.")]
Top = Annotated[int, typer.Option(min=1, help="Features to show.")]
Draws = Annotated[int, typer.Option(min=0, help="Controls of each kind; 0 for none.")]
Where = Annotated[str, typer.Option("--positions", help="all, last, 3 or 1: (not the first).")]
Answer = Annotated[
    str | None, typer.Option(help='Token whose logit is the metric, such as " Mary".')
]
Against = Annotated[str | None, typer.Option(help="Token whose logit is subtracted from it.")]


def _drawable(file: Path | None) -> Path | None:
    """Before anything is measured: whether --plot can be saved."""
    from apps.figures import files as figure_files

    return None if file is None else figure_files.check(file)


Plot = Annotated[
    Path | None,
    typer.Option(
        "--plot", metavar="FILE", help="Draw it too: FILE.html or FILE.png.", callback=_drawable
    ),
]


def load(name: str, dtype: str, progress: Progress | None) -> Model:
    """The model that --model and --dtype name."""
    from steer.loading import load

    return load(name, dtype=dtype, progress=progress)


def metric_of(answer: str | None, against: str | None) -> Metric | str:
    """What --answer and --against measure; KL without them."""
    from steer.effects.metric import LogitDifference

    return "kl" if answer is None else LogitDifference(answer, against or ())


def positions_of(text: str) -> str | int:
    """What --positions means."""
    return int(text) if text.removeprefix("-").isdecimal() else text


def draw(file: Path | None, figure: Any) -> None:
    """Save what `figure()` gives, if --plot was given."""
    if file is not None:
        from apps.figures import files as figure_files

        figure_files.save(figure(), file)
