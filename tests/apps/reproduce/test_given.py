"""E5 for dictionaries by path: taken up where it stopped, with every dictionary on every prompt."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import steer
from apps.reproduce.e5_attribution import given
from apps.reproduce.e5_attribution.experiment import Case
from apps.reproduce.e5_attribution.table import ESTIMATES
from steer.effects.metric import LogitDifference
from tests.support import tiny


def test_each_on_each_prompt_and_none_twice(llama: steer.Model, tmp_path: Path) -> None:
    out = tmp_path / "rows.jsonl"
    named = {"one": tiny.dictionary(), "other": replace(tiny.dictionary(seed=1), name="x")}
    metric = LogitDifference("w5", "w6")
    cases = [Case("ioi", text, metric) for text in ("w7 w31 w12 w55", "w9 w3 w12 w4")]
    given.run(llama, named, cases[:1], out)
    first = out.read_text()
    given.run(llama, named, cases, out)
    assert out.read_text().startswith(first)
    found = given.rows(out)
    assert {(each.dictionary, each.prompt) for each in found} == {
        (name, number) for name in named for number in range(2)
    }
    assert len(found) == 2 * 2 * len(ESTIMATES)
    assert given.table(found).count("\n") == 3
