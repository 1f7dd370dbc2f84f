"""What is said where an optional part is not installed."""

from __future__ import annotations

from importlib.util import find_spec

import typer


def missing(package: str, extra: str) -> typer.BadParameter:
    """The error for a package that comes with one of our extras."""
    return typer.BadParameter(f"{package} is missing: pip install 'sae-steer[{extra}]'")


def need_lm_eval() -> None:
    """Raise that error, unless lm-eval is there."""
    if find_spec("lm_eval") is None:
        raise missing("lm-eval", "evals")
