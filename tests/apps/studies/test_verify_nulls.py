"""The study of verdicts on planted features: resumable, and what it keeps."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import pytest
import typer

from apps.studies.planted import REAL
from apps.studies.verify_nulls import RESULTS, main, planted_cases, rows, run, table
from tests.support import ROOT

README = (ROOT / "steer" / "verdicts" / "README.md").read_text(encoding="utf-8")


def accepted(part: str) -> str:
    """How many of the kept verdicts of a part say `steers`."""
    verdicts = [row["verdict"] for row in rows(RESULTS / f"{part}.jsonl")]
    return f"{verdicts.count('steers')} of {len(verdicts)}"


def test_the_readme_says_what_is_kept() -> None:
    assert f"| {accepted('rows')} accepted" in README
    assert f"| `steers` in {accepted('seeds')} |" in README


def test_what_is_there_is_not_run_again(tmp_path: Path) -> None:
    results = tmp_path / "planted.jsonl"
    run(islice(planted_cases(), 1), results)
    first = results.read_text()
    run(islice(planted_cases(), 2), results)
    assert results.read_text().startswith(first)
    verdict_rows = rows(results)
    assert [row["name"] for row in verdict_rows] == ["real 0", f"null {REAL}"]
    assert [row["verdict"] for row in verdict_rows] == ["steers", "no better than random direction"]
    assert "real: steers 1" in table(verdict_rows)


@pytest.mark.parametrize(("part", "frozen"), [("frozen", None), ("named", "folder")])
def test_a_frozen_dictionary_goes_with_its_part(part: str, frozen: str | None) -> None:
    with pytest.raises(typer.BadParameter, match="go together"):
        main(part, frozen=frozen)
