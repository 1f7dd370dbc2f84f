"""The map of the code: who may import whom, and how large a folder may grow.

`tests → apps → steer → dictionaries`; within a room, a name imports only those before it. Imports
inside functions and for type checkers alone count like any other.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from tests.support import ROOT

MAY_IMPORT = {
    "dictionaries": {"dictionaries"},
    "steer": {"steer", "dictionaries"},
    "apps": {"apps", "steer", "dictionaries"},
}


def listed(names: str) -> list[str]:
    return names.split()


ORDER = {
    "dictionaries": listed(
        "errors extras sites config later files beside dictionary architectures formats hub "
        "releases catalogue label_imports convert baselines concepts erasure measures training"
    ),
    "steer": listed(
        "errors progress threads maths shown disk lm features quality interpretation edits figures "
        "splice runs exchange model loading jobs certificates serving effects verdicts costs evals "
        "concepts forecasts"
    ),
    "steer.effects": listed(
        "defaults metric positionwise passes controls logits sweep attribution patching dose "
        "downstream tree paths"
    ),
    "steer.verdicts": listed(
        "claim texts panel protocol frozen register arms cost measure compare decide result verify "
        "table"
    ),
    "apps": listed(
        "text_files same_model corpora training labels studies reproduce safety server playground "
        "cli"
    ),
    "apps.server": listed("request answer state routes guard app start bench"),
    "apps.safety": listed("asgi hosts bodies headers scripts mistakes guesses keys login guarded"),
    "apps.playground": listed(
        "html state studio find steer measure take_away towards outside handlers api tools panes "
        "page theme wire server start"
    ),
}
"""Each name may import those before it."""
INSIDE_NNSIGHT = {
    "steer.lm.passes",
    "steer.lm.remote",
    "steer.lm.language_model",
    "steer.loading",
}
"""The bodies under plans (`steer.splice.passes`) get `save` from `steer.lm.passes`."""
MOST_FILES = 16


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


FILES = {
    module_of(path): path for room in MAY_IMPORT for path in sorted((ROOT / room).rglob("*.py"))
}
TREES = {name: ast.parse(path.read_text()) for name, path in FILES.items()}
every_file = pytest.mark.parametrize("module", FILES)


def imported(module: str) -> Iterator[str]:
    """Names of all modules that a file imports, wherever in it."""
    for node in ast.walk(TREES[module]):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"relative import in line {node.lineno}"
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                yield whole if whole in FILES else node.module or ""


def calls(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """What is called by a bare name, with the line."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            yield node.func.id, node.lineno


def rooms_of(module: str) -> set[str]:
    return {name.split(".")[0] for name in imported(module)}


def test_there_are_files() -> None:
    assert len(FILES) > 300


@every_file
def test_rooms_import_one_way(module: str) -> None:
    room = module.split(".")[0]
    assert rooms_of(module) & {*MAY_IMPORT, "tests"} <= MAY_IMPORT[room]


@pytest.mark.parametrize("package", ORDER)
def test_names_import_those_before_them(package: str) -> None:
    order, inside = ORDER[package], f"{package}."
    upward = []
    for module in FILES:
        if not module.startswith(inside):
            continue
        mine = module.removeprefix(inside).split(".")[0]
        assert mine in order, f"{module}: {mine} is not in the order of {package}"
        for name in imported(module):
            theirs = name.removeprefix(inside).split(".")[0]
            if name.startswith(inside) and order.index(theirs) > order.index(mine):
                upward.append(f"{module} -> {name}")
    assert upward == []


@pytest.mark.parametrize("package", ORDER)
def test_the_order_names_nothing_that_is_gone(package: str) -> None:
    there = {name.removeprefix(f"{package}.").split(".")[0] for name in FILES}
    assert set(ORDER[package]) <= there


def test_no_circle_of_files() -> None:
    graph = {
        module: {name for name in imported(module) if name in FILES and name != module}
        for module in FILES
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"a circle: {' -> '.join(error.args[1])}")


def test_no_folder_is_crowded() -> None:
    sizes = Counter(path.parent for path in FILES.values() if path.name != "__init__.py")
    crowded = {str(folder.relative_to(ROOT)): n for folder, n in sizes.items() if n > MOST_FILES}
    assert crowded == {}


def test_only_these_import_nnsight() -> None:
    assert {module for module in FILES if "nnsight" in rooms_of(module)} == INSIDE_NNSIGHT


@pytest.mark.parametrize(
    "folder",
    sorted({".".join(name.split(".")[:2]) for name in FILES if name.count(".") > 1}),
)
def test_every_folder_has_a_folder_of_tests(folder: str) -> None:
    assert list((ROOT / "tests" / Path(*folder.split("."))).rglob("test_*.py"))


@every_file
def test_only_apps_print(module: str) -> None:
    if not module.startswith("apps"):
        assert [line for name, line in calls(TREES[module]) if name == "print"] == []


@every_file
def test_only_apps_open_a_port_and_only_figures_draw(module: str) -> None:
    draws = {"plotly"} if module.startswith("steer.figures") else set()
    if not module.startswith("apps"):
        assert not rooms_of(module) & ({"gradio", "typer", "rich", "plotly", "socket"} - draws)
        assert "http.server" not in imported(module)


@pytest.mark.parametrize("module", [name for name in FILES if name.startswith("dictionaries")])
def test_dictionaries_know_no_model(module: str) -> None:
    assert not rooms_of(module) & {"transformers", "nnsight", "tokenizers"}
