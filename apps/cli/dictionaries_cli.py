"""Commands on other people's dictionaries: `steer check`, `convert` and `statistics`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from apps.cli.options import DICTIONARIES, DICTIONARY, MODEL, Dtype, Json, ModelName, load
from apps.cli.output import emit
from apps.cli.progress import progress_bars

app = typer.Typer(no_args_is_help=True)

Name = Annotated[
    str, typer.Argument(help="A catalogue name, a folder (#5: its block 5) or hf://org/repo/path.")
]


@app.command(
    rich_help_panel=DICTIONARIES,
    epilog="Example: steer check smollm2-135m/resid_post.20 --text novel.txt",
)
def check(
    name: Name = DICTIONARY,
    model: ModelName = MODEL,
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
    dtype: Dtype = "float32",
    json_output: Json = False,
) -> None:
    """Whether a dictionary was loaded as it was meant, on real tokens; exit code 1 if not."""
    from apps.text_files import read_text

    texts = [read_text(path) for path in text] if text else None
    if full:
        _full_check(name, model, texts, outliers, dtype, json_output)
        return
    from steer.quality.check import check as run_check

    with progress_bars(not json_output) as progress:
        found = run_check(load(model, dtype, progress), name, texts)
    emit(json_output, found.to_dict(), lambda: str(found))
    if not found.passed:
        raise typer.Exit(1)


def _full_check(
    name: str, model: str, texts: list[str] | None, outliers: bool, dtype: str, json_output: bool
) -> None:
    from steer.quality.core_metrics import full_check

    with progress_bars(not json_output) as progress:
        loaded = load(model, dtype, progress)
        found = full_check(loaded, name, texts, outliers=outliers, progress=progress).to_dict()
    lines = [f"{key}: {value}" for group in found.values() for key, value in group.items()]
    emit(json_output, found, lambda: "\n".join(lines))


@app.command(
    rich_help_panel=DICTIONARIES,
    epilog="Example: steer convert smollm2-135m/resid_post.20 copy --to saelens",
)
def convert(
    source: Name,
    destination: Annotated[Path, typer.Argument(help="A folder that is not there, or is empty.")],
    to: Annotated[str, typer.Option(help="saelens, sparsify or dictionary_learning.")],
    overwrite: Annotated[bool, typer.Option(help="Replace what the folder holds.")] = False,
    json_output: Json = False,
) -> None:
    """Write a dictionary in another library's format, or say why it can't be said there."""
    from dictionaries.convert import convert as run_convert

    folder = run_convert(source, destination, to, overwrite=overwrite)
    emit(json_output, {"written": str(folder), "to": to}, lambda: f"written: {folder}")


@app.command(
    rich_help_panel=DICTIONARIES,
    epilog="Example: steer statistics my-dictionary --corpus novel.txt",
)
def statistics(
    name: Annotated[str, typer.Argument(help="A folder, or hf://org/repo/path.")],
    corpus: Annotated[list[Path], typer.Option(help="Text files, or folders of them.")],
    tokens: Annotated[int, typer.Option(min=32, help="Most to read.")] = 200_000,
    overwrite: Annotated[bool, typer.Option(help="Replace statistics that are there.")] = False,
    model: ModelName = MODEL,
    dtype: Dtype = "float32",
    json_output: Json = False,
) -> None:
    """One pass over text, kept beside the dictionary: doses such as 5x max, and feature cards."""
    from apps.studies.statistics import measure

    with progress_bars(not json_output) as progress:
        done = measure(
            load(model, dtype, progress), name, corpus, tokens, overwrite, progress=progress
        )
    line = f"{done['active']:,} of {done['width']:,} features active on {done['tokens']:,} tokens"
    emit(json_output, done, lambda: f"{line}; written: {done['written']}")
