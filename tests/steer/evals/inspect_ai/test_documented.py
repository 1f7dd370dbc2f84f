"""The lines of the README on Inspect, as a shell runs them."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

import steer
from tests.support import ROOT
from tests.support.documents import blocks
from tests.support.serving import NAME, Server

pytest.importorskip("inspect_ai")
README = ROOT / "steer" / "evals" / "README.md"
OURS = [block for block in blocks(README) if "test_documented.py" in (block.mark or "")]


def test_the_lines_on_inspect_run(tmp_path: Path, server: Server) -> None:
    if not entry_points(group="inspect_ai", name="steer"):
        pytest.skip("the package is installed from before it had the provider")
    task, commands = OURS
    (tmp_path / "colours.py").write_text(task.text)
    edit = steer.Intervention(NAME, [steer.Clamp(1176, "2x max")])
    edit.save(tmp_path / "edit.json")
    environment = {**os.environ, "INSPECT_DISPLAY": "plain", "PYTHONPATH": str(ROOT)}
    for line in commands.text.splitlines():
        words = shlex.split(line.replace("http://127.0.0.1:8000", server.url))
        command = [sys.executable, "-P", "-m", "inspect_ai", *words[1:]]
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
        )
        assert "42 tokens [I: 34, O: 8]" in done.stdout
