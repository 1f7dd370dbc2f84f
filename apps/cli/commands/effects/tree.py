"""`steer tree`: the earlier features that a feature stands on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from apps.cli.command import command
from apps.cli.options.plot import Plot
from apps.cli.options.run import Run
from apps.cli.options.single import DICTIONARY, EARLY, FEATURE, Where


@command("steer tree 1176 --texts my_texts.txt --hydra")
def tree(
    *,
    feature: Annotated[
        int, typer.Argument(metavar=FEATURE, help="The target: a feature of the latest dictionary.")
    ],
    texts: Annotated[
        Path | None,
        typer.Option(help="A file with a text a line; by default the dictionary's own contexts."),
    ] = None,
    dictionary: Annotated[
        list[str] | None, typer.Option("--dictionary", help="From the latest to the earliest.")
    ] = None,
    contexts: Annotated[int, typer.Option(min=1, help="Contexts of each feature.")] = 20,
    parents: Annotated[int, typer.Option(min=1, help="Earlier features kept of each.")] = 5,
    hydra: Annotated[bool, typer.Option(help="Ablate again without the best parent.")] = False,
    positions: Where = "1:",
    seed: Annotated[int, typer.Option(help="Of the choice of contexts.")] = 0,
    plot: Plot,
    run: Run,
) -> None:
    """The causal tree of a feature: earlier features under whose ablation it falls most."""
    from apps.cli.views.paths import tree_views
    from apps.text_files import read_lines
    from steer.edits.phrases import parse_positions
    from steer.effects.tree.causal_tree import causal_tree
    from steer.figures.tree import causal_tree as tree_figure

    names = dictionary or [DICTIONARY, EARLY]
    lines = None if texts is None else read_lines(texts)
    with run.loaded() as (model, progress):
        grown = causal_tree(
            model,
            [model.dictionary(name) for name in names],
            feature,
            lines,
            contexts=contexts,
            parents=parents,
            hydra=hydra,
            positions=parse_positions(positions),
            seed=seed,
            progress=progress,
        )
    plot.draw(lambda: tree_figure(grown.to_dict()))
    title = f"feature {feature} of {names[0]}, {len(grown.nodes[0].contexts)} contexts"
    run.emit(grown.to_dict(), lambda: tree_views(grown, title))
