"""The command, where there is no GPU."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from tests.gpu.__main__ import OUT, keep, main, measured
from tests.gpu.figures import ROWS


def test_all_is_measured_and_a_cpu_s_figures_are_no_gpu_s(tmp_path: Path) -> None:
    told = measured("cpu", True, "float32")
    assert told["device"].startswith("cpu: ")
    assert list(told["figures"])[: len(ROWS)] == [
        f"clamp over plain generate, {rows} rows" for rows in ROWS
    ]
    assert not [figure for figure in told["figures"].values() if isinstance(figure, str)]
    path = tmp_path / "figures.jsonl"
    assert keep(told, path) is None
    assert not path.exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    before = OUT.read_text() if OUT.exists() else None
    assert main([]) == 2
    assert "no CUDA device here" in capsys.readouterr().out
    assert (OUT.read_text() if OUT.exists() else None) == before


def test_what_is_kept_is_of_a_gpu() -> None:
    lines = OUT.read_text().splitlines() if OUT.exists() else []
    assert all(json.loads(line)["cuda"] for line in lines)
