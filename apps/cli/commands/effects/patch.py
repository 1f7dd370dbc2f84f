"""`steer patch`: the features that carry what two prompts differ in."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from apps.cli.command import command
from apps.cli.options.plot import Plot
from apps.cli.options.run import Reading
from apps.cli.options.single import Where


@command('steer patch "John gave a drink to" "Mary gave a drink to" --kl 0.5')
def patch(
    *,
    texts: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="BASE TARGET ...",
            help="The text that is patched and, as long in tokens, the one whose features are "
            "patched in; several pairs are measured one by one.",
        ),
    ] = None,
    pairs: Annotated[
        Path | None, typer.Option(help="A file of pairs: a line each, with a tab between.")
    ] = None,
    ranking: Annotated[str, typer.Option(help="ig, atp, exact, norm or random.")] = "ig",
    error: Annotated[str, typer.Option(help="keep the base's error, or patch it.")] = "keep",
    kl: Annotated[
        float | None, typer.Option(help="Also the fewest features that reach this KL, in nats.")
    ] = None,
    plot: Plot,
    positions: Where = "all",
    run: Reading,
    top: Annotated[int, typer.Option(min=1, help="Ranked features to show.")] = 10,
) -> None:
    """KL(edited‖target) against how many features are patched from one prompt into another.

    Each pair has a ranking of its own; intervals are over the pairs.
    """
    from apps.cli.views.patch import patch_views
    from apps.studies.patch_pairs import fewest, one_of, patched, read_pairs
    from steer.edits.phrases import parse_positions
    from steer.effects.patching.patching import patch_curve, prompt_pairs, rank
    from steer.figures.curves import patching_curves

    bases, targets = read_pairs(texts or [], pairs)
    with run.loaded() as (model, progress):
        patchable = prompt_pairs(
            model,
            bases,
            targets,
            model.dictionary(run.dictionary),
            positions=parse_positions(positions),
            error=error,
        )
        orders = [rank([pair], ranking) for pair in patchable]
        curve = patch_curve(patchable, orders, progress=progress)
        rows = [
            patched(pair, order, kl, top, one_of(progress, number, len(patchable)))
            for number, (pair, order) in enumerate(zip(patchable, orders, strict=True))
        ]
    plot.draw(lambda: patching_curves({ranking: curve}))
    document = {**curve.to_dict(), "dtype": model.precision, "ranking": ranking, "each": rows}
    if kl is not None:
        document["fewest"] = fewest(rows)
    run.emit(document, lambda: patch_views(document, kl))
