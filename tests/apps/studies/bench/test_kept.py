"""Runs of several machines are one table, a column each, and each column says whose it is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from apps.studies.bench import kept
from steer.errors import SteerError


def run(processor: str, **ratios: float) -> dict[str, Any]:
    figures = {
        name: {"ratio": ratio, "bound": 1.0, "runs": [ratio - 0.5, ratio, ratio + 1]}
        for name, ratio in ratios.items()
    }
    return {"machine": {"processor": processor, "threads": 2}, "figures": figures}


ONE, OTHER = run("one", clamp=2.0, sweep=8.0), run("other", clamp=3.0)


def test_what_is_added_is_read_again_and_stands_side_by_side(tmp_path: Path) -> None:
    file = tmp_path / "runs.jsonl"
    assert kept.ready(file) == []
    kept.add(file, ONE)
    assert kept.ready(file) == [ONE]
    kept.add(file, OTHER)
    there = kept.runs(file)
    assert there == [ONE, OTHER]
    clamp, sweep = kept.columns(there)
    assert (clamp["1"], clamp["1_low"], clamp["1_high"]) == (2.0, 1.5, 3.0)
    assert (clamp["2"], clamp["2_low"], clamp["2_high"]) == (3.0, 2.5, 4.0)
    assert (sweep["1"], sweep["2"]) == (8.0, None)
    assert list(sweep) == list(clamp)
    assert kept.machines(there) == ["1: one, 2 threads", "2: other, 2 threads"]


@pytest.mark.parametrize("text", ["{", "[]\n", json.dumps({"machine": {}}) + "\n"])
def test_a_file_of_something_else_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "other.jsonl"
    file.write_text(text)
    with pytest.raises(SteerError, match="holds no runs of `steer bench --out`"):
        kept.ready(file)
    assert file.read_text() == text


def test_a_file_that_is_not_there_has_nothing_to_show(tmp_path: Path) -> None:
    with pytest.raises(SteerError, match="holds no runs"):
        kept.runs(tmp_path / "none.jsonl")
