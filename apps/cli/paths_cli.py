"""Commands about the way an effect takes: `steer downstream`, `tree` and `direct`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from apps.cli.edit_options import TextEdits, gathers
from apps.cli.options import (
    DICTIONARY,
    EARLY,
    EFFECTS,
    MODEL,
    Against,
    Answer,
    DictionaryName,
    Draws,
    Dtype,
    Json,
    ModelName,
    Plot,
    Prompts,
    Top,
    Where,
    draw,
    load,
    metric_of,
    positions_of,
)
from apps.cli.output import emit, error_said, match_said, records, table
from apps.cli.progress import progress_bars

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

    from steer.effects.tree.result import CausalTree

app = typer.Typer(no_args_is_help=True)


@app.command(
    rich_help_panel=EFFECTS, epilog='Example: steer downstream "The old bridge" --ablate 123'
)
@gathers
def downstream(
    prompts: Prompts,
    edits: TextEdits,
    at: Annotated[str, typer.Option(help="Which tokens count: 1:, last, 3 or all.")] = "1:",
    later: Annotated[
        str, typer.Option("--later", help="The dictionary of a later site to read.")
    ] = DICTIONARY,
    draws: Draws = 8,
    plot: Plot = None,
    dictionary: DictionaryName = EARLY,
    model: ModelName = MODEL,
    top: Top = 20,
    dtype: Dtype = "float32",
    json_output: Json = False,
) -> None:
    """Which features of a later dictionary an edit changes, by how much and at which tokens.

    Beside each: how much it changes under controls with the edit's norm at the same tokens, along
    random directions and along features of its density. `significant`: by more than under either.
    """
    from apps.figures.effects import downstream_bars
    from steer.effects.downstream.downstream import downstream as measure

    edit = edits.intervention(dictionary)
    with progress_bars(not json_output) as progress:
        loaded = load(model, dtype, progress)
        found = measure(
            loaded,
            prompts,
            edit,
            loaded.dictionary(later),
            at=positions_of(at),
            draws=draws,
            progress=progress,
        )
    draw(plot, lambda: downstream_bars(found, top))
    data = {**found.to_dict(top), "error": edit.error}
    title = f"features of {later}, mean over tokens {at}"

    def tables() -> list[RenderableType]:
        features = table(_brief(data["features"]), title)
        overall = [table(data["overall"], "all later features together")] if draws else []
        return [features, *overall, *match_said(data["matched"]), error_said([edit.error])]

    emit(json_output, data, tables)


@app.command(
    rich_help_panel=EFFECTS, epilog="Example: steer tree 1176 --texts my_texts.txt --hydra"
)
def tree(
    feature: Annotated[int, typer.Argument(help="The target: a feature of the last dictionary.")],
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
    plot: Plot = None,
    model: ModelName = MODEL,
    dtype: Dtype = "float32",
    json_output: Json = False,
) -> None:
    """The causal tree of a feature: earlier features under whose ablation it falls most."""
    from apps.figures.tree import causal_tree as tree_figure
    from apps.text_files import read_lines
    from steer.effects.tree.causal_tree import causal_tree

    names = dictionary or [DICTIONARY, EARLY]
    lines = None if texts is None else read_lines(texts)
    with progress_bars(not json_output) as progress:
        loaded = load(model, dtype, progress)
        found = causal_tree(
            loaded,
            [loaded.dictionary(name) for name in names],
            feature,
            lines,
            contexts=contexts,
            parents=parents,
            hydra=hydra,
            positions=positions_of(positions),
            seed=seed,
            progress=progress,
        )
    draw(plot, lambda: tree_figure(found.to_dict()))
    title = f"feature {feature} of {names[0]}, {len(found.nodes[0].contexts)} contexts"
    data = found.to_dict()
    emit(json_output, data, lambda: [*_tree_tables(found, title), error_said([found.error])])


def _tree_tables(found: CausalTree, title: str) -> list[Table]:
    columns = ["child", "parent", "share", "share_low", "share_high", "q", "active"]
    tables = [table(records(found.to_frame()[columns]), title)]
    if found.backups:
        backups = [vars(backup) for backup in found.backups]
        tables.append(table(backups, "with the best parent ablated too"))
    return tables


@app.command(
    rich_help_panel=EFFECTS,
    epilog='Example: steer direct "She is taller" --clamp 1176=2x --answer " than"',
)
@gathers
def direct(
    prompts: Prompts,
    edits: TextEdits,
    feature: Annotated[
        int | None,
        typer.Option(help="No edit: its decoder row times --amount, by the direct path alone."),
    ] = None,
    amount: Annotated[float, typer.Option(help="Of --feature.")] = 1.0,
    answer: Answer = None,
    against: Against = None,
    draws: Draws = 8,
    plot: Plot = None,
    dictionary: DictionaryName = DICTIONARY,
    model: ModelName = MODEL,
    top: Annotated[int, typer.Option(min=1, help="Tokens to show.")] = 10,
    dtype: Dtype = "float32",
    json_output: Json = False,
) -> None:
    """An edit's total effect, its direct one, and the effect with parts of the model frozen.

    `random` and `matched`: the mean size of the same for controls with the edit's norm at the same
    tokens, along random directions and along features of its density.
    """
    from apps.figures.effects import path_bars, token_bars
    from steer.effects.paths.direct import LABEL, direct_logit_effect
    from steer.effects.paths.path_effects import path_effects
    from steer.errors import InterventionError

    if feature is not None and edits.given:
        raise InterventionError("give either --feature or edits such as --clamp 123=5x, not both")
    with progress_bars(not json_output) as progress:
        loaded = load(model, dtype, progress)
        if feature is not None:
            sae = loaded.dictionary(dictionary)
            alone = direct_logit_effect(
                loaded, sae, feature, amount=amount, prompts=prompts, top=top, draws=draws
            )
            data = alone.to_dict()
            draw(plot, lambda: token_bars(alone))
        else:
            edit = edits.intervention(dictionary)
            metric = metric_of(answer, against)
            found = path_effects(loaded, prompts, edit, metric=metric, draws=draws)
            data = {
                **found.to_dict(),
                "promoted": [each.to_dict() for each in found.promoted(k=top)],
                "suppressed": [each.to_dict() for each in found.suppressed(k=top)],
            }
            draw(plot, lambda: path_bars(found))

    def tables() -> list[RenderableType]:
        tops = [table(data[n], f"{n} ({LABEL})") for n in ("promoted", "suppressed")]
        near = match_said(data["matched"])
        if feature is not None:
            return [*tops, *near]
        paths = table(_brief(data["paths"]), f"change of {data['metric']}")
        return [paths, *tops, *near, error_said([data["error"]])]

    emit(json_output, data, tables)


def _brief(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Without the p-values behind `significant`."""
    return [{k: v for k, v in row.items() if not k.startswith(_TESTS)} for row in rows]


_TESTS = ("p_", "q_")
