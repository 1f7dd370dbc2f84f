"""In what dtype the page writes, unless it is told."""

from __future__ import annotations

import platform
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch

import steer
from apps.playground.start import open_studio
from apps.playground.state.setup import Row, Setup
from apps.playground.take_away.forms import forms
from apps.server.start import Settings
from dictionaries import catalogue
from steer import Clamp
from steer.lm.decoding import decoding_dtype
from tests.support import tiny

CPUINFO = Path("/proc/cpuinfo")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A tiny model, to be loaded by name."""
    path = tmp_path_factory.mktemp("named") / "model"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tiny.build("llama").save_pretrained(path)
    tiny.tokenizer().save_pretrained(path)
    return str(path)


@pytest.fixture(scope="module")
def sae(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("named") / "sae"
    catalogue.save(tiny.dictionary(), path)
    return str(path)


@pytest.mark.skipif(
    torch.cuda.is_available() or platform.machine() != "x86_64" or not CPUINFO.exists(),
    reason="a processor's flags are listed by Linux on x86-64, and a GPU goes first",
)
def test_it_is_bf16_where_the_processor_says_that_it_multiplies_it() -> None:
    lines = CPUINFO.read_text().splitlines()
    flags = set(next(line for line in lines if line.startswith("flags")).split())
    assert (decoding_dtype() == "bfloat16") == bool(flags & {"avx512_bf16", "amx_bf16"})


def test_the_page_writes_in_it_unless_told_and_nothing_else_does(folder: str, sae: str) -> None:
    assert open_studio(folder, sae).model.dtype == decoding_dtype()
    assert open_studio(folder, sae, dtype="float32").model.dtype == "float32"
    assert steer.load(folder).dtype == Settings(folder).dtype == "float32"


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_what_is_taken_away_names_it_and_writes_the_page_s_text(
    folder: str, sae: str, dtype: str
) -> None:
    studio = open_studio(folder, sae, dtype=dtype)
    rows = (Row(sae, Clamp(5, 4.0)),)
    setup = Setup(prompt=tiny.PROMPT, rows=rows, max_new_tokens=8, temperature=0.7, seed=1)
    taken = forms(studio, setup)
    assert f"--dtype {dtype}" in taken["shell"]
    names: dict[str, Any] = {}
    exec(compile(taken["python"], "taken", "exec"), names)
    run = studio.run(setup)
    assert (names["run"].text, names["run"].dtype) == (run.text, dtype)
    assert f"decoded in {dtype}" in repr(run)
