"""`steer labels make`: labels by readable rules."""

from __future__ import annotations

from typing import Annotated

import typer

from apps.cli.command import command
from apps.cli.options.labelling import Labelling
from apps.cli.options.run import Output
from apps.cli.options.single import DICTIONARY
from apps.cli.options.work import Work


@command("steer labels make smollm2-135m/resid_post.20")
def make(
    *,
    name: Annotated[str, typer.Argument(help="A catalogue name or a folder.")] = DICTIONARY,
    labelling: Labelling,
    work: Work,
    output: Output,
) -> None:
    """Label every feature by the readable rule that best predicts where it is active.

    A rule looks at tokens: "ends in ing", "after of". Its precision, recall and F1 are measured
    on text that it was not chosen on. Labels from elsewhere are kept.
    """
    from apps.labels.detected import SOURCE, make_labels
    from apps.training.recipe import load_recipe
    from dictionaries import catalogue
    from dictionaries.beside.labels import Labels

    work.check(("--out", labelling.out))
    dictionary, recipe = catalogue.load(name), load_recipe(labelling.recipe)
    with output.progress() as progress:
        made = make_labels(
            dictionary, recipe, work=labelling.work, **work.spread, progress=progress
        )
    if work.told(output.emit):
        return
    folder = labelling.out or catalogue.find(name)
    written = Labels.load(folder).without_source(SOURCE).merged(made).save(folder)
    good = sum((label.f1 or 0) > 0.8 for label in made) / max(1, len(made))
    document = {
        "written": str(written),
        "labels": len(made),
        "features": dictionary.width,
        "share_f1_above_0.8": good,
    }
    line = f"{len(made)} of {dictionary.width} features labelled, {good:.1%} with F1 above 0.8"
    output.emit(document, lambda: f"{line}; written: {written}")
