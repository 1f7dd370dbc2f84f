"""`steer patch`: the features that carry what two prompts differ in."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from apps.cli.options import (
    DICTIONARY,
    EFFECTS,
    MODEL,
    DictionaryName,
    Dtype,
    Json,
    ModelName,
    Plot,
    Where,
    draw,
    load,
    positions_of,
)
from apps.cli.output import emit, error_said, number, table
from apps.cli.progress import progress_bars

if TYPE_CHECKING:
    from rich.console import RenderableType

app = typer.Typer(no_args_is_help=True)


@app.command(
    rich_help_panel=EFFECTS,
    epilog='Example: steer patch "John gave a drink to" "Mary gave a drink to" --kl 0.5',
)
def patch(
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
    plot: Plot = None,
    positions: Where = "all",
    dictionary: DictionaryName = DICTIONARY,
    model: ModelName = MODEL,
    top: Annotated[int, typer.Option(min=1, help="Ranked features to show.")] = 10,
    dtype: Dtype = "float32",
    json_output: Json = False,
) -> None:
    """KL(edited‖target) against how many features are patched from one prompt into another.

    Each pair has a ranking of its own; intervals are over the pairs.
    """
    from apps.figures.curves import patching_curves
    from apps.studies.patch_pairs import fewest, one_of, patched, read_pairs
    from steer.effects.patching.patching import patch_curve, prompt_pairs, rank

    bases, targets = read_pairs(texts or [], pairs)
    with progress_bars(not json_output) as progress:
        loaded = load(model, dtype, progress)
        found = prompt_pairs(
            loaded,
            bases,
            targets,
            loaded.dictionary(dictionary),
            positions=positions_of(positions),
            error=error,
        )
        orders = [rank([pair], ranking) for pair in found]
        curve = patch_curve(found, orders, progress=progress)
        each = [
            patched(pair, order, kl, top, one_of(progress, number, len(found)))
            for number, (pair, order) in enumerate(zip(found, orders, strict=True))
        ]
    draw(plot, lambda: patching_curves({ranking: curve}))
    data = {**curve.to_dict(), "ranking": ranking, "each": each}
    if kl is not None:
        data["fewest"] = fewest(each)
    emit(json_output, data, lambda: _views(data, kl))


def _views(data: Mapping[str, Any], kl: float | None) -> list[RenderableType]:
    area = "" if data["area"] is None else f", mean height {data['area']['mean']:.3g} nats"
    count = f"{data['pairs']} pairs" if data["pairs"] > 1 else "one pair"
    title = f"KL(edited‖target) in nats over {count}, ranked by {data['ranking']}{area}"
    each = [
        {
            "base": row["base"],
            "differ": row["differ"],
            **({} if kl is None else {"fewest": row["minimal"] and len(row["minimal"]["nodes"])}),
            "best first": " ".join(map(str, row["ranked"])),
        }
        for row in data["each"]
    ]
    views: list[RenderableType] = [
        table(data["points"], title),
        table(each, "features that differ"),
    ]
    if fewest := data.get("fewest"):
        bounds = f" [{number(fewest['low'])}, {number(fewest['high'])}]"
        views.append(
            f"fewest features for a KL of {kl:g} nats: {number(fewest['mean'])}"
            + (bounds if fewest["reached"] > 1 else "")
            + f", reached by {fewest['reached']} of {count}"
        )
    return [*views, _SAID[data["error"]]]


_SAID = {"keep": f"{error_said(['keep'])}, the base's own", "patch": "error term patched: a node"}
