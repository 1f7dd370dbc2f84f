"""A command: a function whose parameters are options, or groups of options."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import typer

from apps.cli.options.gather import flattened


@dataclass(frozen=True)
class Command:
    """A command before it has a name and a place.

    function: as it is written; its parameters are by keyword, since their order is that of the
    help and some have no default.
    example: of its use, at the end of its help.
    context: click's settings.
    """

    function: Callable[..., None]
    example: str
    context: dict[str, Any]

    def join(self, parent: typer.Typer, name: str, panel: str | None) -> None:
        """Make it a command of `parent`, in a panel of its help."""
        parent.command(
            name,
            rich_help_panel=panel,
            epilog=f"Example: {self.example}",
            context_settings=self.context or None,
        )(flattened(self.function))


def command(example: str, **context: Any) -> Callable[[Callable[..., None]], Command]:
    """Make a `Command` of a function."""
    return lambda function: Command(function, example, context)
