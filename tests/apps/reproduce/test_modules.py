"""Every experiment's folder offers the same names, and rows are filled by the same rules."""

from __future__ import annotations

import inspect
from importlib import import_module
from pathlib import Path

import pytest

from apps import reproduce
from apps.reproduce.cells import bounds, number, row_of, with_bounds
from apps.reproduce.modules import ExperimentModule, TableModule
from apps.reproduce.registry import EXPERIMENTS, Experiment
from steer.maths.statistics import Interval

each = pytest.mark.parametrize("experiment", EXPERIMENTS.values(), ids=EXPERIMENTS)


@each
def test_what_measures(experiment: Experiment) -> None:
    module = import_module(f"{experiment.package}.experiment")
    assert isinstance(module, ExperimentModule)
    signature = inspect.signature(module.run)
    assert [p.annotation for p in signature.parameters.values()] == ["Settings"]
    assert signature.return_annotation == "Table"
    assert experiment.run is module.run


@each
def test_what_says_what_was_found(experiment: Experiment) -> None:
    module = import_module(f"{experiment.package}.table")
    assert isinstance(module, TableModule)
    assert all(isinstance(text, str) and text for text in module.COLUMNS.values())
    returned = {
        name: inspect.signature(getattr(module, name)).return_annotation
        for name in ("tabulate", "claims", "figure")
    }
    assert returned == {"tabulate": "Table", "claims": "tuple[Claim, ...]", "figure": "Figure"}
    (table,) = inspect.signature(module.figure).parameters.values()
    assert table.annotation == "Table"


def test_every_folder_of_an_experiment_is_listed() -> None:
    folders = {path.parent.name for path in Path(reproduce.__path__[0]).glob("*/experiment.py")}
    assert folders == {e.package.rsplit(".", 1)[-1] for e in EXPERIMENTS.values()}


def test_cells_stand_in_the_columns_order() -> None:
    columns = {"a": "", "b": "", "c": ""}
    assert list(row_of(columns, {"c": 1, "a": 0.0}).items()) == [("a", 0.0), ("b", None), ("c", 1)]
    with pytest.raises(ValueError, match="no column d among a, b, c"):
        row_of(columns, {"d": 1})


def test_an_interval_is_three_cells() -> None:
    interval = Interval(2.0, 1.0, 3.0, 9)
    assert bounds("kl", interval) == {"kl": 2.0, "kl_low": 1.0, "kl_high": 3.0}
    assert bounds("kl", interval, "") == {"kl": 2.0, "low": 1.0, "high": 3.0}
    assert bounds("kl", None, "KL ") == {"kl": None, "KL low": None, "KL high": None}
    assert list(with_bounds({"kl": "nats"})) == list(bounds("kl", interval))


def test_a_cell_without_a_number_is_refused() -> None:
    assert number({"a": 2}, "a") == 2.0
    for value in (None, "2"):
        with pytest.raises(ValueError, match=r"a holds .*no number"):
            number({"a": value}, "a")
