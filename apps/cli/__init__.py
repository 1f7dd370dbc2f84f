"""The command line: `steer --help`. Heavy imports are inside the commands.

`steer sweep` of the panel Effects is in commands/effects/sweep.py, `steer labels search` in
commands/dictionaries/labels/search.py, and so on.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import version as installed
from io import TextIOWrapper
from itertools import takewhile
from keyword import iskeyword
from typing import Annotated

import typer

from apps.cli.boundary import one_line

PANELS = {
    "Edit": (
        "demo",
        "generate",
        "explain",
        "concept",
        "app",
        "serve",
        "import",
        "export",
        "schema",
    ),
    "Look": ("find", "features", "feature", "neighbours", "contrast", "dictionaries"),
    "Effects": (
        "effects",
        "verify",
        "dose",
        "ioi",
        "sweep",
        "attribution",
        "downstream",
        "tree",
        "direct",
        "patch",
    ),
    "Dictionaries": (
        "check",
        "certify",
        "check-model",
        "convert",
        "statistics",
        "forecast",
        "labels",
    ),
    "Evaluate": ("evaluate", "lm-eval", "score", "select", "calibrate", "reproduce"),
    "Make": (
        "train",
        "stability",
        "plan",
        "merge",
        "jobs",
        "fetch",
        "bench",
        "bench-truth",
        "bench-training",
        "docs",
    ),
}
"""The panels of `steer --help`, each with its commands, in the order in which they are shown."""

DEBUG = "--debug"

GROUPS = {
    "labels": ("import", "search", "set", "make", "judge"),
    "plan": ("sweep", "harvest", "train"),
}
"""Commands with commands of their own; what they are for is said by their folder's docstring."""


def python_name(command: str) -> str:
    """A command's file, and the function in it."""
    name = command.replace("-", "_")
    return f"{name}_" if iskeyword(name) else name


def main() -> None:
    """Entry point: an error that the user can put right is one line and exit code 2."""
    _quiet_libraries()
    _escape_what_cannot_be_written()
    try:
        code = app(standalone_mode=False)
    except typer.Abort:
        sys.exit(1)
    except Exception as error:  # the one place where any error becomes a line
        if type(error).__name__ == "NoArgsIsHelpError":
            sys.exit(2)  # the help was shown
        if DEBUG in takewhile(lambda given: given.startswith("-"), sys.argv[1:]):
            traceback.print_exception(error)
        line, code = one_line(error)
        print(f"steer: {line}", file=sys.stderr)
    sys.exit(code if isinstance(code, int) else 0)


def _quiet_libraries() -> None:
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


def _escape_what_cannot_be_written() -> None:
    """A token that the terminal's encoding has no character for is written as \\u2423."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"steer {installed('sae-steer')}")
        raise typer.Exit


def _root() -> typer.Typer:
    root = typer.Typer(
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    root.callback()(_of_all)
    for panel, names in PANELS.items():
        _join(root, f"apps.cli.commands.{panel.lower()}", names, panel)
    return root


def _of_all(
    version: Annotated[
        bool, typer.Option("--version", help="Print it and end.", callback=_version, is_eager=True)
    ] = False,
    debug: Annotated[
        bool, typer.Option(DEBUG, help="Show where an error came from: steer --debug COMMAND.")
    ] = False,
) -> None:
    """Change a language model through the features of a sparse dictionary."""


def _join(parent: typer.Typer, folder: str, names: Sequence[str], panel: str | None) -> None:
    for name in names:
        module = import_module(f"{folder}.{python_name(name)}")
        if name in GROUPS:
            group = typer.Typer(no_args_is_help=True, help=module.__doc__)
            _join(group, module.__name__, GROUPS[name], None)
            parent.add_typer(group, name=name, rich_help_panel=panel)
        else:
            getattr(module, python_name(name)).join(parent, name, panel)


app = _root()
