"""The example at the end of each command's help, run as it stands on the default model."""

from __future__ import annotations

import gzip
import json
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
import typer

import steer
from apps.cli import app
from dictionaries import catalogue
from steer.exchange.vector_files import read_vectors
from tests.support.command import Run

NAME = "smollm2-135m/resid_post.20"
TOO_LONG = {
    "concept": "minutes; tests/real/test_concept_real.py",
    "app": "serves until it is stopped; tests/browser",
    "ioi": "two minutes",
    "tree": "a minute",
    "check": "a minute; tests/real/test_check_real.py",
    "lm-eval": "lm-eval's own logs; tests/steer/evals/lm_eval/test_cli.py",
    "score": "minutes",
    "select": "a minute",
    "calibrate": "minutes",
    "reproduce": "minutes",
    "train": "an hour",
    "stability": "hours; tests/dictionaries/measures/test_stability.py",
    "forecast": "a minute; tests/steer/forecasts",
    "plan harvest": "a minute; tests/steer/costs",
    "merge": "it needs shards; tests/apps/cli/test_merge.py",
    "bench-truth": "minutes; tests/apps/studies/truth",
    "bench-training": "minutes; tests/apps/studies/trainers",
    "bench": "minutes",
    "serve": "serves until it is stopped; tests/apps/server",
    "certify": "it names a release on the hub; tests/real/test_certify_real.py",
    "docs": "half a minute; tests/apps/studies/test_docs.py",
    "statistics": "a minute; tests/apps/cli/test_dictionaries_cli.py",
    "verify": "a minute and a half; tests/apps/cli/test_verify_cli.py",
    "labels make": "minutes; tests/apps/cli/test_measuring_cli.py",
    "labels judge": "it needs a judge; tests/apps/cli/test_measuring_cli.py",
}
"""Commands whose example is parsed only, and why."""


def walked(command: Any, before: str = "") -> Iterator[tuple[str, str]]:
    for name, inner in command.commands.items():
        if hasattr(inner, "commands"):
            yield from walked(inner, f"{name} ")
        else:
            yield before + name, inner.epilog.removeprefix("Example: ")


EXAMPLES = dict(walked(typer.main.get_command(app)))
RUN = {name: example for name, example in EXAMPLES.items() if name not in TOO_LONG}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the examples name."""
    folder = tmp_path_factory.mktemp("made")
    texts = {
        "happy.txt": "I am so happy today\nWhat a joy\nShe smiled and laughed\n",
        "sad.txt": "I am so sad today\nWhat a pity\nShe cried and cried\n",
        "novel.txt": "Call me Ishmael. Some years ago, never mind how long. " * 6,
    }
    for name, text in texts.items():
        (folder / name).write_text(text)
    steer.Intervention(NAME, [steer.Add(123, 20.0)]).save(folder / "edit.json")
    catalogue.save(catalogue.load(NAME), folder / "my-dictionary")
    label = {"modelId": "m", "layer": "20-x", "index": "1176", "description": "comparatives"}
    (folder / "batch-0.jsonl.gz").write_bytes(gzip.compress(f"{json.dumps(label)}\n".encode()))
    _control_vector(folder / "happy.gguf")
    return folder


@pytest.fixture
def files(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it in the folder where an example runs, and may change it."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _control_vector(file: Path) -> None:
    """As repeng writes it: a direction for each block from 1 on."""
    from gguf import GGUFWriter

    writer = GGUFWriter(file, "controlvector")
    writer.add_string("controlvector.model_hint", "llama")
    writer.add_uint32("controlvector.layer_count", 30)
    for layer in range(1, 30):
        direction = torch.randn(576, generator=torch.Generator().manual_seed(layer))
        writer.add_tensor(f"direction.{layer}", direction.numpy().astype(numpy.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@pytest.mark.parametrize("name", RUN)
def test_an_example_runs(name: str, run: Run, files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = shlex.split(RUN[name].partition(" > ")[0])[1:]
    if name == "labels import":  # beside a dictionary of its own, not the shipped one
        words += ["--dictionary", "my-dictionary"]
    answer = run(*words)
    assert answer.code == 0, answer.err
    assert answer.out.strip()


def test_what_is_too_long_is_a_command() -> None:
    assert set(TOO_LONG) <= set(EXAMPLES)
    assert len(RUN) >= 20


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_is_of_its_command(name: str) -> None:
    assert EXAMPLES[name].startswith(f"steer {name}")


def test_the_files_are_what_they_are_said_to_be(files: Path) -> None:
    assert len(read_vectors(files / "happy.gguf", [14])) == 1
