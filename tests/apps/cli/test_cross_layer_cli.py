"""A block of a cross-layer transcoder on the command line, by its address."""

from __future__ import annotations

import json
import random
import warnings
from pathlib import Path

import pytest

from dictionaries import catalogue
from tests.support import tiny
from tests.support.command import Run
from tests.support.cross_layer import random_blocks, write_scope


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A tiny model, a text, and a cross-layer transcoder."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tiny.build("llama").save_pretrained(tmp_path / "model")
    tiny.tokenizer().save_pretrained(tmp_path / "model")
    words = random.Random(3).choices(range(3, tiny.VOCABULARY), k=200)
    (tmp_path / "text.txt").write_text(" ".join(f"w{word}" for word in words))
    write_scope(tmp_path / "clt", random_blocks())
    return tmp_path


def test_a_block_by_its_address(run: Run, root: Path) -> None:
    block, model = f"{root}/clt#1", ("--model", root / "model")
    checked = run("check", block, *model, "--text", root / "text.txt", "--json")
    assert json.loads(checked.out)["hookpoint"] == "mlp_in.1"
    read = json.loads(run("features", tiny.PROMPT, "--dictionary", block, *model, "--json").out)
    assert len(read) == len(tiny.PROMPT.split())
    edit = ("--dictionary", block, "--clamp", "5=3")
    wrote = run("generate", tiny.PROMPT, *edit, *model, "--max-new-tokens", "3", "--json")
    (entry,) = json.loads(wrote.out)["receipt"]
    assert (entry["dictionary"], entry["feature"]) == (block, 5)
    assert entry["acted_tokens"]
    plan = json.loads(run("explain", *edit, *model, "--json").out)["plans"][0]
    assert (plan["reads"], plan["writes"]) == ("mlp_in.1", "mlp_out.1 to mlp_out.2")
    measured = run("statistics", block, "--corpus", root / "text.txt", *model, "--json")
    assert measured.code == 0, measured.err
    known = catalogue.load(block).statistics
    assert known is not None
    assert catalogue.load(f"{root}/clt#0").statistics is None
    dosed = run("generate", tiny.PROMPT, "--dictionary", block, "--clamp", "5=2x", *model, "--json")
    assert dosed.code == 0, dosed.err


def test_the_folder_alone_says_what_to_name(run: Run, root: Path) -> None:
    answer = run("features", tiny.PROMPT, "--dictionary", root / "clt", "--model", root / "model")
    assert answer.code != 0
    assert "blocks 0 to 2: name one" in " ".join(answer.err.split())
