"""`--remote`: what the command gives without it, and where its passes were sent."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.command import Run

PROMPT = "w7 w31 w12"
LINES = {
    "generate": ["generate", PROMPT, "--clamp", "5=9", "-n", "3"],
    "effects": ["effects", PROMPT, "--clamp", "5=9", "--draws", "1"],
    "dose": ["dose", "5", PROMPT, "--dose", "2", "--dose", "9", "--continuation", "0"],
    "sweep": ["sweep", PROMPT, "--clamp", "9", "--draws", "1"],
}


def check_same(there: Any, here: Any) -> None:
    """Numbers to rounding: whole passes there, resumed ones here."""
    if isinstance(here, dict):
        assert there.keys() == here.keys()
        for name in here:
            check_same(there[name], here[name])
    elif isinstance(here, list):
        for theirs, ours in zip(there, here, strict=True):
            check_same(theirs, ours)
    elif isinstance(here, float):
        assert there == pytest.approx(here, abs=5e-5, rel=1e-3)
    else:
        assert there == here


@pytest.mark.parametrize("line", LINES.values(), ids=LINES)
def test_a_rehearsal_is_the_command(
    line: list[str], run: Run, tiny_options: list[str], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("STEER_CACHE", str(tmp_path))
    here, there = (
        run(*line, "--json", *more, *tiny_options) for more in ([], ["--remote", "local"])
    )
    assert (here.code, there.code, there.err) == (0, 0, "")
    told = json.loads(there.out)
    assert told.pop("remote") == "local"
    check_same(told, json.loads(here.out))
    assert list((tmp_path / "remote").iterdir()) == []


def test_a_shard_sends_its_own_part(
    run: Run, tiny_options: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And a file of passes run here is not gone on with."""
    monkeypatch.setenv("STEER_CACHE", str(tmp_path / "cache"))
    part = ["--shard", "1/2", "--file", str(tmp_path / "part.jsonl"), *tiny_options]
    assert run("sweep", PROMPT, "--remote", "local", *part).code == 0
    code, _, err = run("sweep", PROMPT, *part)
    assert code == 2
    assert "remote" in err
