"""`steer evaluate` and `steer lm-eval`: edited models on lm-eval's tasks."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from apps import edit_options
from apps.effects_cli import _finite as finite
from apps.progress import progress_bars

if TYPE_CHECKING:
    from rich.console import RenderableType

    from steer.edits import Intervention
    from steer.evals.lm_eval_compare import Evaluation

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


@app.command(epilog="Example: steer evaluate --tasks ioi,gender --clamp 4973=1x --limit 50")
def evaluate(
    tasks: Tasks,
    edit: Files = None,
    clamp: edit_options.Clamp = None,
    ablate: edit_options.Ablate = None,
    scale: edit_options.Scale = None,
    add: edit_options.Add = None,
    positions: Annotated[str, typer.Option(help="all, prompt, generated, last, 3 or 2:5.")] = "all",
    dictionary: Annotated[
        str, typer.Option("--dictionary", help="A catalogue name or a folder.")
    ] = "smollm2-135m/resid_post.20",
    model: Annotated[
        str, typer.Option("--model", help="smollm2-135m, a folder, or a hub id org/name.")
    ] = "smollm2-135m",
    limit: Annotated[int | None, typer.Option(min=1, help="Documents of each task.")] = None,
    num_fewshot: Annotated[int | None, typer.Option(min=0, help="Examples in the prompt.")] = None,
    batch_size: Annotated[int, typer.Option(min=1)] = 16,
    apply_chat_template: Annotated[bool, typer.Option("--apply-chat-template")] = False,
    fewshot_as_multiturn: Annotated[bool, typer.Option("--fewshot-as-multiturn")] = False,
    include_path: Annotated[Path | None, typer.Option(help="A folder with more tasks.")] = None,
    seed: Annotated[int, typer.Option(help="Of few-shot examples and sampling.")] = 0,
    dtype: Annotated[str, typer.Option(help="float32, bfloat16 or float16.")] = "float32",
    json_output: Annotated[
        bool, typer.Option("--json", help="Print one JSON document for machines.")
    ] = False,
) -> None:
    """Scores of the model with and without edits, paired tests of the differences, and receipts.

    Edits by option (--clamp and so on) act together, as one; without any, the baseline is scored.
    """
    _need_lm_eval()
    changes = {"clamp": clamp, "ablate": ablate, "scale": scale, "add": add}
    edits = _edits(edit or (), dictionary, positions, changes)
    from steer.evals.lm_eval_compare import evaluate as run
    from steer.loading import load

    with progress_bars(not json_output) as progress:
        found = run(
            load(model, dtype=dtype, progress=progress),
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
    if json_output:
        print(json.dumps(finite(found.to_dict()), ensure_ascii=False, allow_nan=False))
        return
    from rich.console import Console

    Console().print(evaluation_view(found), markup=False, highlight=False)


@app.command(
    "lm-eval",
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

    from steer.evals.lm_eval_compare import TASKS

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
    files: Sequence[str], dictionary: str, positions: str, changes: dict[str, Any]
) -> dict[str, Sequence[Intervention]]:
    """What is compared with the baseline: name -> interventions that act together."""
    from steer.errors import InterventionError
    from steer.evals.lm_eval import read_interventions

    found: dict[str, Sequence[Intervention]] = {}
    for given in files:
        parts = [Path(part) for part in given.split(os.pathsep)]
        name = "+".join(part.stem for part in parts)
        if (name if name not in found else given) in found:
            raise InterventionError(f"--edit {given} was given twice")
        found[name if name not in found else given] = read_interventions(list(parts))
    if any(changes.values()):
        name = " ".join(
            f"{kind} {each}" for kind, several in changes.items() for each in several or ()
        )
        found[name] = edit_options.interventions(dictionary, None, positions, **changes)
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
    "adjusted for all rows (Benjamini-Hochberg); margin is log p(right) - log p(best wrong), nats."
)
