"""lm-eval's own HTTP client against the real server: what `--model steer` gives in process."""

from __future__ import annotations

from pathlib import Path

import pytest

import steer
from apps.server.bench.scores import scores
from apps.server.bench.started import Target
from tests.support import ROOT
from tests.support.command import Run
from tests.support.documents import blocks
from tests.support.serving import MODEL, NAME, Server

README = ROOT / "steer" / "evals" / "README.md"
EDIT = steer.Intervention(NAME, [steer.Clamp(1176, "2x max")])


@pytest.fixture(scope="module")
def edits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("my-edits")
    EDIT.save(folder / "longer.json")
    return folder


def test_log_likelihoods_and_scores_are_those_in_process(server: Server, edits: Path) -> None:
    target = Target(server.url, server.process.pid)
    results = edits / "scores.jsonl"
    loaded = scores(target, steer.load(MODEL), edits, 3, results, tasks=("ioi",))
    assert [row["edit"] for row in loaded] == ["none", "longer"]
    for row in loaded:
        assert row["log-likelihoods"] == 6
        assert row["largest difference"] == 0
        assert row["same scores"]


def test_the_line_of_the_readme_runs(
    server: Server, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    (block,) = [b for b in blocks(README) if "test_local_completions.py" in (b.mark or "")]
    (words,) = block.commands
    answer = run(*(word.replace("http://127.0.0.1:8000", server.url) for word in words))
    assert answer.code == 0, answer.err
    assert "local-completions" in answer.out
