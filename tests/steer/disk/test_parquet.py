"""A ledger as columns: the rows, the header, and the table that a result makes of them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pandas
import pytest
from pandas.testing import assert_frame_equal
from pyarrow import parquet

import steer
from steer.disk.ledger import Contents, read_ledger
from steer.disk.merge import merge
from steer.disk.parquet import write_parquet
from steer.errors import SteerError
from tests.support import tiny

HEADER = {"work": 1, "prompts": ["ça", "w7"]}


def contents(*rows: dict[str, object]) -> Contents:
    return Contents(HEADER, {("rows", 0, 0): list(rows)}, {"rows": 1})


def test_a_sweeps_table_from_columns_is_its_own(llama: steer.Model, tmp_path: Path) -> None:
    file, columns = tmp_path / "rows.jsonl", tmp_path / "rows.parquet"
    swept = steer.ablation_sweep(
        llama,
        tiny.PROMPTS,
        tiny.dictionary(),
        metric=steer.LogitDifference("w5", "w6"),
        against=steer.Against(draws=2, tested=3),
        file=file,
    )
    merge([file], columns)
    read = pandas.read_parquet(columns)
    assert set(read["stage"]) == {"effects", "controls"}
    stages = {}
    for stage in ("effects", "controls"):
        part = pandas.read_parquet(columns, filters=[("stage", "=", stage)])
        stages[stage] = tuple(part.drop(columns="stage").dropna(axis=1).to_dict("records"))
    again = replace(swept, rows=stages["effects"], controls=stages["controls"])
    assert_frame_equal(again.frame, swept.frame)
    assert_frame_equal(again.to_rows(), swept.to_rows())
    metadata = parquet.read_schema(columns).metadata
    assert json.loads(metadata[b"steer"]) == read_ledger(file).header


def test_what_is_no_plain_column_is_json(tmp_path: Path) -> None:
    rows = [
        {"number": 1, "dose": "2x max", "on": True, "texts": ["a"], "whole": 1},
        {"number": 2.5, "dose": -1.0, "on": None, "texts": [], "whole": 2, "more": {"x": []}},
    ]
    write_parquet(contents(*rows), tmp_path / "a.parquet")
    read = parquet.read_table(tmp_path / "a.parquet").to_pydict()
    assert read == {
        "stage": ["rows", "rows"],
        "number": [1.0, 2.5],
        "dose": ['"2x max"', "-1.0"],
        "on": [True, None],
        "texts": ['["a"]', "[]"],
        "whole": [1, 2],
        "more": [None, '{"x": []}'],
    }


def test_no_rows(tmp_path: Path) -> None:
    write_parquet(contents(), tmp_path / "a.parquet")
    assert len(pandas.read_parquet(tmp_path / "a.parquet")) == 0


def test_a_whole_file_must_be_finished_and_alone(tmp_path: Path) -> None:
    whole, half, out = (tmp_path / name for name in ("a.jsonl", "b.jsonl", "c.parquet"))
    contents({"x": 1}).write(whole)
    replace(contents({"x": 1}), ends={}).write(half)
    for files, words in (
        ([half], "b.jsonl is not finished: give its command again"),
        ([whole, whole], r"no shard: .* alone it can be made columns"),
    ):
        with pytest.raises(SteerError, match=words):
            merge(files, out)
        assert not out.exists()
    merge([whole], out)
    with pytest.raises(SteerError, match="is there already"):
        merge([whole], out)
