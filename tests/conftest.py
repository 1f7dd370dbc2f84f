"""Tiny models of each family, see `tests.support.tiny`; and a server with the default model."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import settings

import steer
from tests.support import tiny
from tests.support.command import Output, Run
from tests.support.cross_layer import random_blocks, write_pairs, write_scope
from tests.support.serving import Server, serving, write_edits

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
torch.set_num_threads(1)
settings.register_profile(
    "repeatable", deadline=None, derandomize=True, max_examples=60, database=None
)
settings.load_profile("repeatable")


@pytest.fixture(params=tiny.FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def model(family: str) -> steer.Model:
    """The tiny model of the family."""
    return tiny.tiny_model(family)


@pytest.fixture
def untouched(family: str) -> Any:
    """The same model, that nnsight never saw."""
    return tiny.plain_model(family)


@pytest.fixture
def llama() -> steer.Model:
    """One family, where the family does not matter."""
    return tiny.tiny_model("llama")


@pytest.fixture
def clt(tmp_path: Path) -> Path:
    """A random cross-layer transcoder of the tiny models."""
    return write_pairs(tmp_path / "clt", random_blocks())


@pytest.fixture(params=[write_pairs, write_scope], ids=["circuit-tracer", "gemma scope 2"])
def either_clt(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """The same, in either layout."""
    found: Path = request.param(tmp_path / "clt", random_blocks())
    return found


@pytest.fixture
def model_folder(tmp_path: Path) -> Callable[[], Path]:
    """A tiny model saved in a folder of its own, that may be spoilt."""

    def save() -> Path:
        folder = tmp_path / "model"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tiny.build("llama").save_pretrained(folder)
        tiny.tokenizer().save_pretrained(folder)
        return folder

    return save


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """`steer` with these arguments, in this process."""

    from apps import cli

    def call(*arguments: object) -> Output:
        monkeypatch.setattr(sys, "argv", ["steer", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            cli.main()
        code = ended.value.code
        return Output(code if isinstance(code, int) else 0, *capsys.readouterr())

    return call


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """`steer serve` with the default model and named edits, one for all tests that ask for it."""
    edits = write_edits(tmp_path_factory.mktemp("edits"))
    with serving("--edits", edits, "--max-tokens", 200) as running:
        yield running
