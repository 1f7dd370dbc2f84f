"""What `steer app --json` says when it listens."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import warnings
from pathlib import Path

import httpx

from dictionaries import catalogue
from steer.lm.decoding import decoding_dtype
from tests.support import ROOT, tiny

STEER = [sys.executable, "-P", "-c", "from apps.cli import main; main()"]


def test_the_page_is_announced_in_one_line_of_json(tmp_path: Path) -> None:
    model, sae = tmp_path / "model", tmp_path / "sae"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tiny.build("llama").save_pretrained(model)
    tiny.tokenizer().save_pretrained(model)
    catalogue.save(tiny.dictionary(), sae)
    options = ["--model", str(model), "--dictionary", str(sae), "--json"]
    process = subprocess.Popen(
        [*STEER, "app", *options], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        said = json.loads(process.stdout.readline())
        assert said["model"] == str(model)
        assert said["dictionaries"] == [str(sae)]
        assert said["dtype"] == decoding_dtype()
        assert said["pid"] == process.pid
        assert httpx.get(said["url"], timeout=60).status_code == 200
    finally:
        process.send_signal(signal.SIGTERM)
        rest, _ = process.communicate(timeout=60)
    assert (process.returncode, rest) == (0, "")
