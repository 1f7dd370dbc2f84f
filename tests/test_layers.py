"""`tests → apps → steer → dictionaries`: an arrow is "may import"."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import ROOT

MAY_IMPORT = {
    "dictionaries": {"dictionaries"},
    "steer": {"steer", "dictionaries"},
    "apps": {"apps", "steer", "dictionaries"},
}
ROOMS = (*MAY_IMPORT, "tests")
FILES = [path for room in MAY_IMPORT for path in sorted((ROOT / room).rglob("*.py"))]
every_file = pytest.mark.parametrize(
    "path", FILES, ids=[path.relative_to(ROOT).as_posix() for path in FILES]
)


def imported(tree: ast.AST) -> Iterator[str]:
    """Names of all modules that are imported, wherever in the file."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"relative import in line {node.lineno}"
            yield node.module or ""


def calls(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """What is called by a bare name, with the line."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            yield node.func.id, node.lineno


def test_there_are_files() -> None:
    assert len(FILES) > 40


@every_file
def test_imports_go_one_way(path: Path) -> None:
    room = path.relative_to(ROOT).parts[0]
    names = {name.split(".")[0] for name in imported(ast.parse(path.read_text()))}
    assert names & set(ROOMS) <= MAY_IMPORT[room]


@every_file
def test_only_apps_print(path: Path) -> None:
    if path.relative_to(ROOT).parts[0] == "apps":
        return
    printed = [line for name, line in calls(ast.parse(path.read_text())) if name == "print"]
    assert printed == []


@every_file
def test_only_apps_open_a_port_or_draw(path: Path) -> None:
    names = {name.split(".")[0] for name in imported(ast.parse(path.read_text()))}
    if path.relative_to(ROOT).parts[0] != "apps":
        assert not names & {"gradio", "typer", "rich", "plotly", "socket", "http"}


@pytest.mark.parametrize(
    "path",
    [p for p in FILES if "dictionaries" in p.parts],
    ids=lambda path: path.relative_to(ROOT).as_posix(),
)
def test_dictionaries_know_no_model(path: Path) -> None:
    names = {name.split(".")[0] for name in imported(ast.parse(path.read_text()))}
    assert not names & {"transformers", "nnsight", "tokenizers"}
