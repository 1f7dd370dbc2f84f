"""Every error of the toolkit is a `SteerError`, so that one `except` catches them all."""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

from steer.errors import (
    DictionaryError,
    FetchError,
    FormatError,
    ModelError,
    SilentEditError,
    SteerError,
    TrainingError,
)
from tests.support import ROOT

ROOMS = ("dictionaries", "steer", "apps")


def raised(path: Path) -> Iterator[str]:
    """Names of the classes in a file that are exceptions, by the names of their bases."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ClassDef):
            bases = [base.id for base in node.bases if isinstance(base, ast.Name)]
            if any(named_as_an_error(name) for name in bases):
                yield node.name


def named_as_an_error(name: str) -> bool:
    of_python = getattr(builtins, name, None)
    if isinstance(of_python, type):
        return issubclass(of_python, BaseException) and not issubclass(of_python, Warning)
    return name.endswith(("Error", "Exception"))


FOUND = [
    (".".join(path.relative_to(ROOT).with_suffix("").parts), name)
    for room in ROOMS
    for path in sorted((ROOT / room).rglob("*.py"))
    for name in raised(path)
]


def test_they_are_found() -> None:
    rooms = {module.split(".")[0] for module, _ in FOUND}
    assert rooms == set(ROOMS)
    assert {"FormatError", "FetchError", "CorpusError"} <= {name for _, name in FOUND}


@pytest.mark.parametrize(("module", "name"), FOUND, ids=[name for _, name in FOUND])
def test_every_error_is_one(module: str, name: str) -> None:
    assert issubclass(getattr(import_module(module), name), SteerError)


@pytest.mark.parametrize(
    ("error", "base"),
    [
        (SteerError, ValueError),
        (ModelError, ValueError),
        (DictionaryError, ValueError),
        (FormatError, DictionaryError),
        (FetchError, RuntimeError),
        (SilentEditError, RuntimeError),
        (TrainingError, RuntimeError),
    ],
)
def test_other_bases_stay(error: type[Exception], base: type[Exception]) -> None:
    assert issubclass(error, base)
