"""A verdict on each of several edits: the file of one process, however it was split."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import steer
from steer.disk.merge import merge
from steer.errors import SteerError
from steer.verdicts.table import SILENT, VerdictTable
from tests.steer.verdicts.test_planted_verdicts import added, settings, world
from tests.support.elsewhere import elsewhere

EDITS = {
    "real": added(0),
    "nothing": steer.Intervention("planted", [steer.Scale(1, 1.0)]),
}


def told(edits: dict[str, Any] = EDITS, claims: Any = None, **options: Any) -> VerdictTable:
    return steer.verify_table(world().model, edits, claims, **{**settings(), **options})


def test_shards_merged_are_the_whole_and_each_row_is_its_verdict(tmp_path: Path) -> None:
    whole = told(file=tmp_path / "whole.jsonl")
    files = [tmp_path / f"{number}.jsonl" for number in (2, 1)]
    for number, file in zip((2, 1), files, strict=True):
        part = told(file=file, shard=f"{number}/2", executor=elsewhere)
        assert repr(part).startswith(f"shard {number}/2 of a VerdictTable of 1 edits")
    merge(files, tmp_path / "merged.jsonl")
    assert (tmp_path / "merged.jsonl").read_bytes() == (tmp_path / "whole.jsonl").read_bytes()
    alone = steer.verify(world().model, EDITS["real"], **settings())
    assert whole.rows[0] == {"name": "real", **alone.to_dict()}
    frame = told(file=tmp_path / "merged.jsonl").frame
    assert list(frame["verdict"]) == ["steers", SILENT]
    assert frame["effect"][0] == alone.effect.whole.mean
    assert frame["bound"][0] == next(c.bound for c in alone.controls)
    assert frame["effect"].isna().tolist() == [False, True]
    assert "1 steers" in repr(whole)


def test_wrong_tables(tmp_path: Path) -> None:
    claim = steer.Claim("w5")
    broken = steer.Intervention("planted", [steer.Add(10**6, 2.0)])
    wrong: list[tuple[dict[str, Any], Any, str]] = [
        ({}, None, "no edits were given"),
        (EDITS, {"other": claim}, "claims of other, which are no edits given"),
        ({**EDITS, "broken": broken}, None, "^broken: .*feature 1000000"),
    ]
    for edits, claims, words in wrong:
        with pytest.raises(SteerError, match=words):
            told(edits, claims, file=tmp_path / "rows.jsonl")
        assert not (tmp_path / "rows.jsonl").exists()
