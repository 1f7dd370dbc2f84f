"""A file of another job, or of none: what it is, and what was asked for, in a line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from steer.disk.ledger import Ledger
from steer.disk.merge import merge
from steer.errors import SteerError

EVALUATION: dict[str, Any] = {"evaluation": 1, "fingerprint": "x", "dtype": "float32", "seed": 0}
SWEEP: dict[str, Any] = {"remote": "local", "sweep": 2, "model": "x", "dtype": "float32"}


def test_a_file_of_another_kind_is_named_without_its_settings(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    Ledger(file, SWEEP).read()
    with pytest.raises(SteerError) as refused:
        Ledger(file, EVALUATION).read()
    assert str(refused.value) == (
        f"{file} holds a sweep, and what is asked for is an evaluation; give another file"
    )


def test_a_file_of_the_same_kind_says_in_what_it_differs(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    Ledger(file, EVALUATION).read()
    with pytest.raises(SteerError, match=r"holds another evaluation \(differs in seed\)"):
        Ledger(file, {**EVALUATION, "seed": 1}).read()


def test_json_of_something_else_is_named_by_a_few_of_its_names(tmp_path: Path) -> None:
    file = tmp_path / "edit.json"
    file.write_text(json.dumps({"version": 1, "dictionary": "d", "edits": [], "error": ""}) + "\n")
    with pytest.raises(SteerError, match=r"JSON of 'version', 'dictionary', 'edits' …, and what"):
        Ledger(file, SWEEP).read()
    with pytest.raises(SteerError, match="no file of a job's rows"):
        merge([file], tmp_path / "all.jsonl")


def test_shards_of_different_work_are_named_by_it(tmp_path: Path) -> None:
    files = [tmp_path / "one.jsonl", tmp_path / "two.jsonl"]
    for number, (file, header) in enumerate(zip(files, (SWEEP, EVALUATION), strict=True), 1):
        Ledger(file, {**header, "shard": f"{number}/2"}).read()
    with pytest.raises(SteerError, match=r"two.jsonl is a shard of an evaluation, .* of a sweep"):
        merge(files, tmp_path / "all.jsonl")
