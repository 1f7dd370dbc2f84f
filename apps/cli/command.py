"""A command: a function whose parameters are options, or groups of options."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import typer
from typer.core import TyperCommand

from apps.cli.options.gather import TYPED, flattened
from apps.cli.options.single import FEATURE


class Once(TyperCommand):
    """Refuses an option that is given twice and can't be, instead of dropping the first.

    The options in the order in which they were typed are kept in the context.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        self._read_below_zero(ctx, args)
        _, _, order = self.make_parser(ctx).parse_args(args=list(args))
        ctx.meta[TYPED] = tuple(option.opts[0] for option in order)
        for option, times in Counter(order).items():
            if times > 1 and option.param_type_name == "option" and not option.multiple:
                raise typer.BadParameter(f"{option.opts[0]} was given twice; give it once")
        return super().parse_args(ctx, args)

    def _read_below_zero(self, ctx: Any, args: list[str]) -> None:
        """A feature such as -1 is no option: the dictionary then says which there are."""
        feature = next((given for given in self.params if given.metavar == FEATURE), None)
        if feature is None or feature.param_type_name != "argument":
            return
        bold = self.make_parser(ctx)
        bold.ignore_unknown_options = True
        values, _, _ = bold.parse_args(args=list(args))
        if re.fullmatch(r"-\d+", str(values.get(feature.name))):
            ctx.ignore_unknown_options = True


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
            cls=Once,
            rich_help_panel=panel,
            epilog=f"Example: {self.example}",
            context_settings=self.context or None,
        )(flattened(self.function))


def command(example: str, **context: Any) -> Callable[[Callable[..., None]], Command]:
    """Make a `Command` of a function."""
    return lambda function: Command(function, example, context)
