"""Rows of the README's figures that are kept beside the measurements."""

from __future__ import annotations

from apps.server.bench.rows import read
from tests.support import ROOT

BENCH = ROOT / "apps" / "server" / "bench"
README = (ROOT / "apps" / "server" / "README.md").read_text(encoding="utf-8")


def test_log_likelihoods_against_the_server_are_those_in_process() -> None:
    rows = read(BENCH / "scores.jsonl")
    assert all(row["same scores"] and row["documents"] == 50 for row in rows)
    assert all(row["largest difference"] == 0 for row in rows)
    assert f"| 0 of {sum(row['log-likelihoods'] for row in rows):,} |" in README


def test_no_text_of_the_long_run_is_wrong() -> None:
    (*_, last) = read(BENCH / "soak.jsonl")
    expected = {"seconds", "MiB", "disconnected", "given up", "refused", "right stream"}
    assert set(last) <= {*expected, "right text", "in time"}
    assert last["seconds"] >= 600
