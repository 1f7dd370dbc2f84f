"""`steer lm-eval`: lm-eval's own command line."""

from __future__ import annotations

import sys

import typer

from apps.cli.command import command
from dictionaries.extras import need


@command(
    "steer lm-eval run --model steer --tasks ioi --model_args "
    "pretrained=smollm2-135m,intervention=edit.json",
    allow_extra_args=True,
    ignore_unknown_options=True,
)
def lm_eval(*, context: typer.Context) -> None:
    """lm-eval's own command line, with the model type `steer` and the local tasks added to it.

    model_args are those of its `hf`, and intervention= with one file or several (a.json:b.json).
    """
    need("lm_eval")
    from lm_eval.__main__ import cli_evaluate

    from steer.evals.lm_eval.compare import TASKS

    given = list(context.args)
    if given and "--include_path" not in given and "--help" not in given:
        given += ["--include_path", str(TASKS)]
    sys.argv = ["lm-eval", *given]
    cli_evaluate()
