"""The bench: what is there is not made again, and what it says of the kept rows."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from apps.studies import truth
from apps.studies.truth import table
from apps.studies.truth.bench import Settings, bench, of_part
from apps.studies.truth.methods import EXACT, METHODS
from steer.errors import SteerError
from tests.support.command import Run

KEPT = Path(truth.__file__).parent / "kept" / "rows.jsonl"
ONE = Settings(parts=("methods",), worlds=1, only=("direct_logit_effect", "logit_effect"))


def test_what_is_there_is_not_made_again(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    first = bench(Settings(parts=("methods",), worlds=1, only=("direct_logit_effect",)), file)
    text = file.read_text()
    rows = bench(ONE, file)
    assert file.read_text().startswith(text)
    assert [row["label"] for row in first] == ["direct_logit_effect"] * 2
    assert rows[:2] == first
    assert [row["label"] for row in rows[2:]] == ["logit_effect"] * 2
    assert bench(ONE, file) == rows


def test_an_exact_method_finds_what_is_planted() -> None:
    lines = table.methods(bench(ONE))
    assert {line["world"] for line in lines} == {"exact", "rough"}
    for line in lines:
        assert min(line["precision"], line["recall"]) >= table.AT_LEAST


def test_the_kept_rows_are_of_every_method_and_more_than_one_seed() -> None:
    rows = [row for line in KEPT.read_text().splitlines()[1:] for row in json.loads(line)["rows"]]
    methods = of_part(rows, "methods")
    assert {row["label"] for row in methods} == {method.name for method in METHODS}
    assert len({row["seed"] for row in methods}) > 1
    lines = table.methods(rows)
    blind = {line["world"]: line for line in lines if line["method"] == "activation alone"}
    for line in (line for line in lines if line["by"] == EXACT and "reach" in _names(line)):
        assert line["precision"] > 2 * blind[line["world"]]["precision"]
    assert table.goals(rows)["missed"] == [
        f"{line['method']} ({line['world']}): {name} {line[name]:.3f}"
        for line in lines
        if line["by"] == EXACT
        for name in ("precision", "recall")
        if line[name] < table.AT_LEAST
    ]


def _names(line: dict[str, object]) -> str:
    return next(method.names for method in METHODS if method.name == line["method"])


def test_unknown_parts_and_labels_are_refused() -> None:
    with pytest.raises(SteerError, match="no part 'edges' of the truth; there are methods"):
        Settings(parts=("edges",))
    with pytest.raises(SteerError, match=r"no method or trainer 'ig'.*attribution, ig"):
        Settings(only=("ig",))


def test_the_command(run: Run, tmp_path: Path) -> None:
    arguments = ["bench-truth", "--part", "methods", "--only", "direct_logit_effect"]
    file = str(tmp_path / "rows.jsonl")
    answer = run(*arguments, "--seeds", "1", "--out", file, "--json")
    assert answer.code == 0
    document = json.loads(answer.out)
    assert [line["world"] for line in document["methods"]] == ["exact", "rough"]
    assert document["goals"]["exact"] is True
    shown = run(*arguments, "--seeds", "1", "--out", file)
    assert "direct_logit_effect" in shown.out
    assert "all reached" in shown.out
