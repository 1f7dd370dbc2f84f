"""The transcripts of the README, against the server that it starts."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.support import ROOT
from tests.support.documents import Block, assert_shown, blocks
from tests.support.serving import Server

README = ROOT / "apps" / "server" / "README.md"
ADDRESS = "http://127.0.0.1:8000"
WITH_SERVER = [block for block in blocks(README) if "test_readme.py" in (block.mark or "")]


def test_there_are_transcripts_of_curl_and_of_openai_s_client() -> None:
    assert {block.language for block in WITH_SERVER} == {"console", "python"}


@pytest.mark.parametrize("block", WITH_SERVER, ids=str)
def test_a_transcript_holds(block: Block, server: Server, tmp_path: Path) -> None:
    text = block.text.replace(ADDRESS, server.url)
    if block.language == "python":
        pytest.importorskip("openai")
        namespace: dict[str, Any] = {}
        exec(compile(text, str(block), "exec"), namespace)
        return
    command, *shown = text.splitlines()
    done = subprocess.run(
        ["bash", "-c", command.removeprefix("$ ")],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=120,
        check=True,
    )
    assert_shown(shown, done.stdout.splitlines())
