"""The command line: `steer --help`. Heavy imports are inside the commands."""

from __future__ import annotations

import os
import sys

import typer
from typer.exceptions import TyperException

from apps.cli import (
    concept_cli,
    dictionaries_cli,
    edit_cli,
    effects_cli,
    evaluate_cli,
    exchange_cli,
    labels_cli,
    look_cli,
    make_cli,
    patch_cli,
    paths_cli,
    reproduce_cli,
    scores_cli,
    sweep_cli,
)
from apps.cli.options import DICTIONARIES

app = typer.Typer(
    help="Change a language model through the features of a sparse dictionary.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for each in (
    edit_cli,
    concept_cli,
    exchange_cli,
    look_cli,
    effects_cli,
    sweep_cli,
    paths_cli,
    patch_cli,
    dictionaries_cli,
    evaluate_cli,
    scores_cli,
    reproduce_cli,
    make_cli,
):
    app.add_typer(each.app)
app.add_typer(labels_cli.app, name="labels", rich_help_panel=DICTIONARIES)


def main() -> None:
    """Entry point: an error that the user can put right is one line and exit code 2."""
    _quiet_libraries()
    try:
        code = app(standalone_mode=False)
    except typer.Abort:
        sys.exit(1)
    except TyperException as error:
        if not sys.argv[1:]:
            sys.exit(2)  # the help was shown
        print(f"steer: {getattr(error, 'format_message', error.__str__)()}", file=sys.stderr)
        sys.exit(2)
    except (ValueError, RuntimeError, OSError) as error:
        if not _is_ours(error):
            raise
        print(f"steer: {error}", file=sys.stderr)
        sys.exit(2)
    sys.exit(code if isinstance(code, int) else 0)


def _quiet_libraries() -> None:
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


def _is_ours(error: Exception) -> bool:
    return type(error).__module__.split(".")[0] in ("steer", "dictionaries", "apps")
