"""Commands that look: `steer features`, `feature`, `neighbours`, `contrast` and `dictionaries`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from apps.cli.options import (
    DICTIONARY,
    LOOK,
    MODEL,
    DictionaryName,
    Dtype,
    FeatureId,
    Json,
    ModelName,
    Top,
    load,
)
from apps.cli.output import emit, table
from apps.cli.progress import progress_bars

if TYPE_CHECKING:
    from dictionaries.dictionary import Dictionary

app = typer.Typer(no_args_is_help=True)


@app.command(
    rich_help_panel=LOOK, epilog='Example: steer features "The Golden Gate Bridge is in California"'
)
def features(
    prompt: Annotated[str, typer.Argument(help="Text to read.")],
    dictionary: DictionaryName = DICTIONARY,
    model: ModelName = MODEL,
    top: Annotated[int, typer.Option(min=1, help="Features per token.")] = 5,
    dtype: Dtype = "float32",
    json_output: Json = False,
) -> None:
    """The most active features of each token."""
    from apps.cli.views import features_view

    with progress_bars(not json_output) as progress:
        loaded = load(model, dtype, progress)
        sae = loaded.dictionary(dictionary)
        found = loaded.features(prompt, sae)
    emit(json_output, found.to_list(top), lambda: features_view(found, sae, loaded, top))


@app.command(rich_help_panel=LOOK, epilog="Example: steer feature 123")
def feature(
    feature_id: FeatureId,
    dictionary: DictionaryName = DICTIONARY,
    model: ModelName = MODEL,
    json_output: Json = False,
) -> None:
    """A feature's card: how often it fires, on what, and what it promotes."""
    from apps.cli.views import feature_view
    from apps.labels.feature_card import feature_card
    from dictionaries import catalogue
    from steer.loading import load_tokenizer

    with progress_bars(not json_output) as progress:
        tokenizer = load_tokenizer(model, progress)
        loaded = catalogue.load(dictionary)
        card = feature_card(lambda i: tokenizer.decode([i]), loaded, feature_id)
    emit(json_output, card.to_dict(), lambda: feature_view(card))


@app.command(rich_help_panel=LOOK, epilog="Example: steer neighbours 1176")
def neighbours(
    feature_id: FeatureId,
    dictionary: DictionaryName = DICTIONARY,
    top: Top = 10,
    json_output: Json = False,
) -> None:
    """Features whose decoder rows point most nearly the same way."""
    from dataclasses import asdict

    from dictionaries import catalogue
    from dictionaries.measures.neighbours import nearest

    loaded = catalogue.load(dictionary)
    rows = [asdict(each) for each in nearest(loaded, feature_id, top)]
    emit(json_output, rows, lambda: table(_labelled(rows, loaded)))


@app.command(
    rich_help_panel=LOOK, epilog="Example: steer contrast --first happy.txt --second sad.txt"
)
def contrast(
    first: Annotated[Path, typer.Option(help="Prompts, one a line.")],
    second: Annotated[Path, typer.Option(help="Prompts, one a line.")],
    dictionary: DictionaryName = DICTIONARY,
    per: Annotated[str, typer.Option(help="What of a prompt: mean, max or last.")] = "mean",
    top: Top = 20,
    model: ModelName = MODEL,
    dtype: Dtype = "float32",
    json_output: Json = False,
) -> None:
    """Features that differ between two sets of prompts, with intervals."""
    from dataclasses import replace
    from typing import cast

    from apps.text_files import read_lines
    from steer.features.contrast import Per, feature_contrast

    sets = [read_lines(path) for path in (first, second)]
    with progress_bars(not json_output) as progress:
        loaded = load(model, dtype, progress)
        sae = loaded.dictionary(dictionary)
        found = feature_contrast(loaded, sae, *sets, per=cast("Per", per), progress=progress)
    data = replace(found, features=found.features[:top]).to_dict()
    title = f"{found.per} of a prompt; difference with its {found.level:.0%} interval"
    emit(json_output, data, lambda: table(_labelled(data["features"], sae), title))


def _labelled(rows: Sequence[dict[str, Any]], dictionary: Dictionary) -> list[dict[str, Any]]:
    """The rows with what each feature is said to mean."""
    labels = [dictionary.labels.of(row["feature"]) for row in rows]
    return [
        {**row, "label": label.text if label else ""}
        for row, label in zip(rows, labels, strict=True)
    ]


@app.command(rich_help_panel=LOOK, epilog="Example: steer dictionaries --json")
def dictionaries(json_output: Json = False) -> None:
    """The dictionaries at hand, with the figures of their cards."""
    from apps.cli.views import dictionaries_view
    from dictionaries import catalogue

    cards = [catalogue.read_card(name) for name in catalogue.names()]
    emit(json_output, cards, lambda: dictionaries_view(cards))
