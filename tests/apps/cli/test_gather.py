"""Groups of options: a command with them has the options that it would have if it spelt them."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, field
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from apps.cli.command import command
from apps.cli.options.gather import TYPED, flattened


@dataclass(frozen=True)
class Where:
    place: Annotated[str, typer.Option(help="Where.")]
    again: Annotated[list[int] | None, typer.Option(help="Several.")] = None
    _: KW_ONLY
    last: Annotated[bool, typer.Option("--last", help="Behind all others.")] = False


@dataclass(frozen=True)
class Near(Where):
    place: Annotated[str, typer.Option(help="Where.")] = "here"


@dataclass(frozen=True)
class How:
    fast: Annotated[bool, typer.Option(help="How.")] = False


@dataclass(frozen=True)
class Ordered:
    one: Annotated[list[str] | None, typer.Option(help="One.")] = None
    two: Annotated[list[str] | None, typer.Option(help="Two.")] = None
    typed: tuple[str, ...] = field(default=(), metadata={TYPED: True})


SEEN: list[object] = []


def grouped(*, first: str, where: Where, how: How, number: int = 3) -> None:
    """What it does."""
    SEEN[:] = [first, where, how, number]


def spelt(
    first: str,
    place: Annotated[str, typer.Option(help="Where.")],
    again: Annotated[list[int] | None, typer.Option(help="Several.")] = None,
    fast: Annotated[bool, typer.Option(help="How.")] = False,
    number: int = 3,
    last: Annotated[bool, typer.Option("--last", help="Behind all others.")] = False,
) -> None:
    """What it does."""


def near(*, where: Near) -> None:
    SEEN[:] = [where]


def ordered(*, options: Ordered, where: Near) -> None:
    SEEN[:] = [options.typed, where]


def app_of(*functions: object) -> typer.Typer:
    app = typer.Typer()
    for number, function in enumerate(functions):
        app.command(f"command{number}")(function)  # type: ignore[type-var]
    return app


def test_the_help_is_that_of_options_spelt_out() -> None:
    app = app_of(flattened(grouped), spelt)
    one, two = (CliRunner().invoke(app, [f"command{n}", "--help"]).output for n in (0, 1))
    assert one.replace("command0", "command1") == two
    assert "Behind all others." in one


@pytest.mark.parametrize(
    ("arguments", "seen"),
    [
        (["x", "--place", "p"], ["x", Where("p"), How(), 3]),
        (
            ["x", "--place", "p", "--again", "1", "--again", "2", "--last", "--fast", "--number=9"],
            ["x", Where("p", [1, 2], last=True), How(True), 9],
        ),
    ],
)
def test_values_come_in_their_groups(arguments: list[str], seen: list[object]) -> None:
    result = CliRunner().invoke(app_of(flattened(grouped)), arguments)
    assert (result.exit_code, SEEN) == (0, seen)


def test_an_option_without_a_default_is_required() -> None:
    result = CliRunner().invoke(app_of(flattened(grouped)), ["x"])
    assert result.exit_code == 2
    assert "--place" in result.output


def test_a_group_may_be_another_with_one_option_changed() -> None:
    result = CliRunner().invoke(app_of(flattened(near)), ["--again", "4"])
    assert (result.exit_code, SEEN) == (0, [Near("here", [4])])


def test_a_group_may_know_the_order_in_which_options_were_typed() -> None:
    app = typer.Typer()
    command("steer x")(ordered).join(app, "x", None)
    given = ["--two", "a", "--one=b", "--last", "--two", "c"]
    result = CliRunner().invoke(app, given)
    assert result.exit_code == 0, result.output
    assert [("--two", "--one", "--last", "--two"), Near("here", last=True)] == SEEN
    assert "typed" not in CliRunner().invoke(app, ["--help"]).output
