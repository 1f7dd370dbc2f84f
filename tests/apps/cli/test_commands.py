"""Where a command is can be typed without looking, and what commands share they say once."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from apps.cli import app, commands, python_name

FOLDER = Path(commands.__file__).parent
FILES = sorted(path for path in FOLDER.rglob("*.py") if path.name != "__init__.py")


def walked(command: Any, folder: Path) -> Iterator[tuple[str, Path, Any]]:
    """Each command below one: its name, the file that it should have, and click's command."""
    for name, inner in command.commands.items():
        panel = getattr(inner, "rich_help_panel", None)
        place = folder / (panel.lower() if isinstance(panel, str) else "") / python_name(name)
        if hasattr(inner, "commands"):
            yield from walked(inner, place)
        else:
            yield name, place.with_suffix(".py"), inner


COMMANDS = list(walked(typer.main.get_command(app), FOLDER))
each_command = pytest.mark.parametrize(
    ("name", "path", "command"),
    COMMANDS,
    ids=[str(path.relative_to(FOLDER).with_suffix("")) for _, path, _ in COMMANDS],
)
each_file = pytest.mark.parametrize("path", FILES, ids=[path.stem for path in FILES])


def written(command: Any) -> Callable[..., None]:
    """The function of a command as it stands in its file."""
    function: Callable[..., None] = inspect.unwrap(command.callback)
    return function


def test_every_file_is_a_command() -> None:
    assert sorted(path for _, path, _ in COMMANDS) == FILES


@each_command
def test_every_command_is_in_its_file(name: str, path: Path, command: Any) -> None:
    function = written(command)
    assert Path(inspect.getfile(function)) == path
    assert function.__name__ == python_name(name)


@each_command
def test_a_command_has_at_most_ten_parameters(name: str, path: Path, command: Any) -> None:
    assert len(inspect.signature(written(command)).parameters) <= 10


@each_command
def test_what_commands_share_is_said_once(name: str, path: Path, command: Any) -> None:
    own = set(inspect.signature(written(command)).parameters)
    shared = {"model", "dtype", "json_output"}
    # The page has --dtype in the middle of its help.
    assert own & shared == ({"model", "dtype"} if name == "app" else set())


@each_command
def test_every_command_speaks_json_and_has_an_example(name: str, path: Path, command: Any) -> None:
    (option,) = (parameter for parameter in command.params if "--json" in parameter.opts)
    assert option.is_flag
    assert not option.default
    assert command.epilog.startswith("Example: steer ")


@each_file
def test_commands_know_nothing_of_one_another(path: Path) -> None:
    nodes = list(ast.walk(ast.parse(path.read_text())))
    names = [node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)]
    names += [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    assert [name for name in names if name.startswith("apps.cli.")]
    assert not [name for name in names if name.startswith("apps.cli.commands")]
