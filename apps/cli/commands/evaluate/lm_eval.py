"""`steer lm-eval`: lm-eval's own command line."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import typer

from apps.cli.command import command
from apps.cli.options.run import Output
from apps.cli.output import print_json
from dictionaries.extras import need
from steer.errors import SteerError


@command(
    "steer lm-eval run --model steer --tasks ioi --model_args "
    "pretrained=smollm2-135m,intervention=edit.json",
    allow_extra_args=True,
    ignore_unknown_options=True,
)
def lm_eval(*, context: typer.Context, output: Output) -> None:
    """lm-eval's own command line, with the model type `steer` and the local tasks added to it.

    model_args are those of its `hf`, and intervention= with one file or several (a.json:b.json).
    With --json what `run` writes to its file of results, and its tables go to stderr.
    """
    need("lm_eval")
    given = list(context.args)
    if output.json_output:
        print_json(_results(given))
    else:
        _call(given)


def _call(given: Sequence[str]) -> None:
    from lm_eval.__main__ import cli_evaluate

    from steer.evals.lm_eval.compare import TASKS

    known = not given or "--include_path" in given or "--help" in given
    sys.argv = ["lm-eval", *given, *(() if known else ("--include_path", str(TASKS)))]
    cli_evaluate()


def _results(given: Sequence[str]) -> Any:
    """What lm-eval writes of a run. Raises `SteerError` for what is none, or that wrote nothing."""
    if not given or given[0] in ("ls", "validate") or "--help" in given:
        raise SteerError("--json is of the results of a run: steer lm-eval run --json --model …")
    reader = argparse.ArgumentParser(add_help=False)
    reader.add_argument("--output_path", "-o")
    reader.add_argument("--config", "-C")
    named, _ = reader.parse_known_args(given)
    if named.config and not named.output_path:
        raise SteerError("--json with --config needs --output_path too: where results are kept")
    with TemporaryDirectory() as own:
        place = Path(named.output_path or own)
        folder = place.parent if place.suffix == ".json" else place
        before = _written(folder)
        with redirect_stdout(sys.stderr):
            _call([*given, *(() if named.output_path else ("--output_path", own))])
        made = [file for file in _written(folder) - before if not file.name.startswith("samples_")]
        if len(made) != 1:
            raise SteerError(f"lm-eval wrote no results to {folder}; its log says why")
        return json.loads(made[0].read_text("utf-8"))


def _written(folder: Path) -> set[Path]:
    return set(folder.rglob("*.json"))
