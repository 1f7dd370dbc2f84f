"""`steer evaluate` and `steer lm-eval`: edited models on lm-eval's tasks."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from apps.cli.edit_options import Changes, gathers
from apps.cli.options import (
    DICTIONARY,
    EVALUATE,
    MODEL,
    DictionaryName,
    Dtype,
    Json,
    ModelName,
    load,
)
from apps.cli.output import emit
from apps.cli.progress import progress_bars

if TYPE_CHECKING:
    from rich.console import RenderableType

    from steer.edits import Intervention
    from steer.evals.lm_eval.compare import Evaluation

app = typer.Typer(no_args_is_help=True)

Files = Annotated[
    list[str] | None,
    typer.Option(
        "--edit",
        metavar="FILE",
        help=f"An intervention saved as JSON; each is compared with the baseline. "
        f"a.json{os.pathsep}b.json act together.",
    ),
]
Tasks = Annotated[
    list[str],
    typer.Option("--tasks", help="ioi,agreement,gender,sentiment, or tasks that lm-eval knows."),
]


@app.command(
    rich_help_panel=EVALUATE,
    epilog="Example: steer evaluate --tasks ioi,gender --clamp 4973=1x --limit 50",
)
@gathers
def evaluate(
    tasks: Tasks,
    changes: Changes,
    edit: Files = None,
    dictionary: DictionaryName = DICTIONARY,
    model: ModelName = MODEL,
    limit: Annotated[int | None, typer.Option(min=1, help="Documents of each task.")] = None,
    num_fewshot: Annotated[int | None, typer.Option(min=0, help="Examples in the prompt.")] = None,
    batch_size: Annotated[int, typer.Option(min=1)] = 16,
    apply_chat_template: Annotated[bool, typer.Option("--apply-chat-template")] = False,
    fewshot_as_multiturn: Annotated[bool, typer.Option("--fewshot-as-multiturn")] = False,
    include_path: Annotated[Path | None, typer.Option(help="A folder with more tasks.")] = None,
    seed: Annotated[int, typer.Option(help="Of few-shot examples and sampling.")] = 0,
    dtype: Dtype = "float32",
    json_output: Json = False,
) -> None:
    """Scores of the model with and without edits, paired tests of the differences, and receipts.

    Edits by option (--clamp and so on) act together, as one; without any, the baseline is scored.
    """
    _need_lm_eval()
    edits = _edits(edit or (), dictionary, changes)
    from steer.evals.lm_eval.compare import evaluate as run

    with progress_bars(not json_output) as progress:
        found = run(
            load(model, dtype, progress),
            [name for each in tasks for name in each.split(",") if name],
            edits,
            limit=limit,
            num_fewshot=num_fewshot,
            batch_size=batch_size,
            apply_chat_template=apply_chat_template,
            fewshot_as_multiturn=fewshot_as_multiturn,
            include_path=include_path,
            seed=seed,
            progress=progress,
        )
    emit(json_output, found.to_dict(), lambda: evaluation_view(found))


@app.command(
    "lm-eval",
    rich_help_panel=EVALUATE,
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
    epilog="Example: steer lm-eval run --model steer --tasks ioi --model_args "
    "pretrained=smollm2-135m,intervention=edit.json",
)
def harness(context: typer.Context) -> None:
    """lm-eval's own command line, with the model type `steer` and the local tasks added to it.

    model_args are those of its `hf`, and intervention= with one file or several (a.json:b.json).
    """
    _need_lm_eval()
    from lm_eval.__main__ import cli_evaluate

    from steer.evals.lm_eval.compare import TASKS

    given = list(context.args)
    if given and "--include_path" not in given and "--help" not in given:
        given += ["--include_path", str(TASKS)]
    sys.argv = ["lm-eval", *given]
    cli_evaluate()


def _need_lm_eval() -> None:
    from importlib.util import find_spec

    if find_spec("lm_eval") is None:
        raise typer.BadParameter("lm-eval is missing: pip install 'sae-steer[evals]'")


def _edits(
    files: Sequence[str], dictionary: str, changes: Changes
) -> dict[str, Sequence[Intervention]]:
    """What is compared with the baseline: name -> interventions that act together."""
    from steer.errors import InterventionError
    from steer.evals.lm_eval.model import read_interventions

    found: dict[str, Sequence[Intervention]] = {}
    for given in files:
        parts = [Path(part) for part in given.split(os.pathsep)]
        name = "+".join(part.stem for part in parts)
        if (name if name not in found else given) in found:
            raise InterventionError(f"--edit {given} was given twice")
        found[name if name not in found else given] = read_interventions(list(parts))
    if changes.given:
        found[str(changes)] = changes.interventions(dictionary)
    return found


def evaluation_view(found: Evaluation) -> RenderableType:
    """A table for each score, a line for each edit in each task; the baseline alone if no edits."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    settings = found.settings
    head = Text(f"{settings['model']}, {settings['dtype']}, lm-eval {settings['lm_eval']}", "dim")
    if not found.differences:
        table = Table("task", "metric", "score ± standard error", "n")
        for (task, metric), score in found.baseline.items():
            table.add_row(task, metric, str(score), str(score.n))
        return Group(head, table)
    parts: list[RenderableType] = [head]
    for (task, metric), score in found.baseline.items():
        title = f"{task} {metric}: {score} unedited, n={score.n}"
        table = Table("edit", "change ± s.e.", "95%", "p", "q", title=title, title_justify="left")
        for each in found.differences:
            if (each.task, each.metric) == (task, metric):
                change = f"{each.difference:+.3g} ± {each.stderr:.2g}"
                between = f"{each.low:+.3g} to {each.high:+.3g}"
                table.add_row(each.edit, change, between, f"{each.p:.2g}", f"{each.q:.2g}")
        parts.append(table)
    parts += [
        Text(f"{task}, {edit}: {line}", "bold red" if " did nothing" in line else "")
        for (edit, task), tally in found.tallies.items()
        for line in str(tally).splitlines()
    ]
    return Group(*parts, Text(_NOTE, "dim"))


_NOTE = (
    "p is paired, over documents: exact McNemar for right or wrong, else sign flips; q is p "
    "adjusted for all rows (Benjamini-Hochberg); margin is log p(right) - log p(best wrong), nats. "
    "The changes are against the unedited model; whether a random direction of the edit's size "
    "would do as much, `steer effects` says."
)
