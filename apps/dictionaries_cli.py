"""Commands on dictionaries: `steer check`, `convert`, `statistics`, `contrast`, `labels` ..."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from apps.progress import progress_bars

app = typer.Typer(no_args_is_help=True)
labels_app = typer.Typer(no_args_is_help=True, help="What features are said to mean.")
app.add_typer(labels_app, name="labels")

Name = Annotated[str, typer.Argument(help="A catalogue name, a folder or hf://org/repo/path.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document for machines.")]
ModelName = Annotated[
    str, typer.Option("--model", help="smollm2-135m, a folder, or a hub id org/name.")
]
DictionaryName = Annotated[str, typer.Option("--dictionary", help="A catalogue name or a folder.")]
Dtype = Annotated[str, typer.Option("--dtype", help="float32, bfloat16 or float16.")]
_DEFAULT = "smollm2-135m/resid_post.20"
_MODEL = "smollm2-135m"


@app.command(epilog="Example: steer check smollm2-135m/resid_post.20 --text novel.txt")
def check(
    name: Name = _DEFAULT,
    model: ModelName = _MODEL,
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
    from apps.statistics import read_text

    texts = [read_text(path) for path in text] if text else None
    if full:
        _full_check(name, model, texts, outliers, dtype, json_output)
        return
    from steer.check import check as run_check

    with progress_bars(not json_output) as progress:
        found = run_check(_load(model, dtype, progress), name, texts)
    _emit(json_output, found.to_dict(), lambda: str(found))
    if not found.passed:
        raise typer.Exit(1)


def _full_check(
    name: str, model: str, texts: list[str] | None, outliers: bool, dtype: str, json_output: bool
) -> None:
    from steer.evals.core_metrics import full_check

    with progress_bars(not json_output) as progress:
        loaded = _load(model, dtype, progress)
        found = full_check(loaded, name, texts, outliers=outliers, progress=progress).to_dict()
    lines = [f"{key}: {value}" for group in found.values() for key, value in group.items()]
    _emit(json_output, found, lambda: "\n".join(lines))


@app.command(epilog="Example: steer convert smollm2-135m/resid_post.20 copy --to saelens")
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
    _emit(json_output, {"written": str(folder), "to": to}, lambda: f"written: {folder}")


@app.command(epilog="Example: steer statistics my-dictionary --corpus novel.txt")
def statistics(
    name: Annotated[str, typer.Argument(help="A folder, or hf://org/repo/path.")],
    corpus: Annotated[list[Path], typer.Option(help="Text files, or folders of them.")],
    tokens: Annotated[int, typer.Option(min=32, help="Most to read.")] = 200_000,
    overwrite: Annotated[bool, typer.Option(help="Replace statistics that are there.")] = False,
    model: ModelName = _MODEL,
    dtype: Dtype = "float32",
    json_output: Json = False,
) -> None:
    """One pass over text, kept beside the dictionary: doses such as 5x max, and feature cards."""
    from apps.statistics import measure

    with progress_bars(not json_output) as progress:
        done = measure(
            _load(model, dtype, progress), name, corpus, tokens, overwrite, progress=progress
        )
    line = f"{done['active']:,} of {done['width']:,} features active on {done['tokens']:,} tokens"
    _emit(json_output, done, lambda: f"{line}; written: {done['written']}")


@app.command(epilog="Example: steer contrast --first happy.txt --second sad.txt")
def contrast(
    first: Annotated[Path, typer.Option(help="Prompts, one a line.")],
    second: Annotated[Path, typer.Option(help="Prompts, one a line.")],
    dictionary: DictionaryName = _DEFAULT,
    per: Annotated[str, typer.Option(help="What of a prompt: mean, max or last.")] = "mean",
    top: Annotated[int, typer.Option(min=1, help="Features to show.")] = 20,
    model: ModelName = _MODEL,
    dtype: Dtype = "float32",
    json_output: Json = False,
) -> None:
    """Features that differ between two sets of prompts, with intervals."""
    from dataclasses import replace
    from typing import cast

    from apps.statistics import read_text
    from steer.feature_contrast import Per, feature_contrast

    sets = [
        [line for line in read_text(path).splitlines() if line.strip()] for path in (first, second)
    ]
    with progress_bars(not json_output) as progress:
        loaded = _load(model, dtype, progress)
        sae = loaded.dictionary(dictionary)
        found = feature_contrast(loaded, sae, *sets, per=cast("Per", per))
    shown = replace(found, features=found.features[:top])
    _emit(json_output, shown.to_dict(), lambda: _contrast_view(shown, sae.labels))


@app.command(epilog="Example: steer neighbours 1176")
def neighbours(
    feature: Annotated[int, typer.Argument(metavar="ID", help="A feature's index.")],
    dictionary: DictionaryName = _DEFAULT,
    top: Annotated[int, typer.Option(min=1, help="Features to show.")] = 10,
    json_output: Json = False,
) -> None:
    """Features whose decoder rows point most nearly the same way."""
    from dataclasses import asdict

    from dictionaries import catalogue
    from dictionaries.neighbours import nearest

    loaded = catalogue.load(dictionary)
    found = nearest(loaded, feature, top)
    rows = [(str(n.feature), f"{n.cosine:.3f}", _said(loaded.labels, n.feature)) for n in found]
    _emit(
        json_output,
        [asdict(each) for each in found],
        lambda: _table(("feature", "cosine", "label"), rows),
    )


@labels_app.command("import", epilog="Example: steer labels import batch-0.jsonl.gz")
def import_labels(
    file: Annotated[
        Path, typer.Argument(help="Neuronpedia's export (JSON, JSONL, a folder of batches) or CSV.")
    ],
    dictionary: DictionaryName = _DEFAULT,
    origin: Annotated[
        str | None, typer.Option(help="model/source, where the file holds several.")
    ] = None,
    json_output: Json = False,
) -> None:
    """Keep labels beside a dictionary; those of the same sources are replaced."""
    from dictionaries import catalogue
    from dictionaries.label_files import read_labels

    found = read_labels(file, origin)
    loaded = catalogue.load(dictionary)
    found.check(loaded)
    kept = loaded.labels
    for source in {label.source for label in found.labels}:
        kept = kept.without_source(source)
    written = kept.merged(found.labels).save(catalogue.find(dictionary))
    data = {
        "written": str(written),
        "imported": len(found.labels),
        "blank": found.blank,
        "kept": len(kept),
    }
    line = f"{len(found.labels)} labels imported, {found.blank} rows without text left out"
    _emit(json_output, data, lambda: f"{line}; written: {written}")


@labels_app.command("search", epilog="Example: steer labels search bridge")
def search_labels(
    words: Annotated[str, typer.Argument(help="Every word, or one that begins so, must be there.")],
    dictionary: DictionaryName = _DEFAULT,
    top: Annotated[int, typer.Option(min=1, help="Labels to show.")] = 20,
    json_output: Json = False,
) -> None:
    """Features whose label has the words."""
    from dictionaries.errors import DictionaryError
    from dictionaries.labels import Labels

    labels = Labels.beside(dictionary)
    if not len(labels):
        raise DictionaryError(f"{dictionary} has no labels: steer labels import FILE")
    found = labels.search(words, top)
    _emit(json_output, [label.to_dict() for label in found], lambda: _labels_view(found))


# -- shared ------------------------------------------------------------------------------------


def _load(name: str, dtype: str, progress: Any) -> Any:
    from apps.options import load

    return load(name, dtype, progress)


def _emit(as_json: bool, data: Any, view: Any) -> None:
    from apps.cli import _emit as emit

    emit(as_json, data, view)


def _labels_view(labels: Any) -> Any:
    if not labels:
        return "no label has these words"
    rows = [
        (str(each.feature), each.text, "" if each.f1 is None else f"{each.f1:.2f}", each.source)
        for each in labels
    ]
    return _table(("feature", "label", "F1", "source"), rows)


def _contrast_view(found: Any, labels: Any) -> Any:
    rows = [
        (
            str(each.feature),
            *(f"{value:.3g}" for value in (each.first, each.second, each.difference)),
            f"[{each.low:.3g}, {each.high:.3g}]",
            f"{each.q:.2g}",
            _said(labels, each.feature),
        )
        for each in found.features
    ]
    columns = ("feature", "first", "second", "difference", f"{found.level:.0%} interval", "q")
    return _table((*columns, "label"), rows)


def _said(labels: Any, feature: int) -> str:
    label = labels.of(feature)
    return label.text if label else ""


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Any:
    from rich.table import Table

    table = Table(*columns)
    for row in rows:
        table.add_row(*row)
    return table
