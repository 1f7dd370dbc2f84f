"""What an interrupted experiment finds again: its results, under the digest of what made them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import pytest
import torch
from torch import Tensor

from apps.reproduce.kept.parts import digest
from apps.reproduce.kept.results import parts_of_each, rows_of_each
from apps.reproduce.settings import Settings
from tests.support import toy


@dataclass(frozen=True)
class Plain:
    name: str
    values: list[float]


@dataclass(frozen=True, eq=False)
class Tensors:
    name: str
    values: Tensor

    def to_dict(self) -> dict[str, Any]:
        return {"name": self.name, "values": self.values.tolist()}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        return cls(data["name"], torch.tensor(data["values"]))


def plain(name: str) -> list[Plain]:
    return [Plain(name, [1.0, float(part)]) for part in range(2)]


def tensors(name: str) -> list[Tensors]:
    return [Tensors(name, torch.tensor([1.0, float(part)])) for part in range(2)]


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return toy.settings(tmp_path_factory.mktemp("kept"))


@pytest.mark.parametrize(("make", "kind"), [(plain, Plain), (tensors, Tensors)])
@pytest.mark.parametrize("ledger", [True, False])
def test_only_what_an_interrupted_run_lacks_is_made(
    settings: Settings, ledger: bool, make: Callable[[str], list[Any]], kind: type[Any]
) -> None:
    asked: list[str] = []

    def find(name: str) -> list[Any]:
        asked.append(name)
        if name == "third" and asked.count("third") == 1:
            raise KeyboardInterrupt
        return make(name)

    def run() -> list[Any]:
        names = ["first", "second", "third"]
        if ledger:
            items = {name: name for name in names}
            return rows_of_each(settings, f"making {kind.__name__}", {}, items, find, kind)
        return parts_of_each(
            settings, "making", kind.__name__, lambda name: {"of": name}, names, find, kind
        )

    with pytest.raises(KeyboardInterrupt):
        run()
    rows = run()
    assert asked == ["first", "second", "third", "third"]
    assert [(row.name, list(row.values)) for row in rows] == [
        (row.name, list(row.values)) for name in ("first", "second", "third") for row in make(name)
    ]
    assert [type(row) for row in rows] == [kind] * 6
    assert len(run()) == 6
    assert len(asked) == 4


def test_another_recipe_is_another_result(settings: Settings) -> None:
    def made(revision: int) -> list[Plain]:
        return parts_of_each(
            settings,
            "making",
            "revised",
            lambda name: {"of": name, "revision": revision},
            ["one"],
            lambda name: [Plain(name, [float(revision)])],
            Plain,
        )

    assert [made(1)[0].values, made(2)[0].values, made(1)[0].values] == [[1.0], [2.0], [1.0]]


def test_where_results_lie_does_not_change(settings: Settings) -> None:
    """A digest is of JSON values alone: code that moves finds what it kept before it moved."""
    assert digest({"b": [1, 2.5], "a": "α"}) == digest({"a": "α", "b": [1, 2.5]}) == "f9ae4eed38aa"
    parts_of_each(settings, "making", "here", lambda name: {"of": name}, ["x"], plain, Plain)
    folder = Path(settings.cache) / f"here-{digest({'of': 'x'})}"
    assert json.loads((folder / "result.json").read_text())[1] == {"name": "x", "values": [1, 1]}
    assert json.loads((folder / "made_of.json").read_text()) == {"of": "x"}
