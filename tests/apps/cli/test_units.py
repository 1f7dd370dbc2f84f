"""Tables say what they measure, in what unit and in what dtype, and JSON the dtype."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from dictionaries import catalogue
from tests.support import tiny
from tests.support.command import Run

KL, LOGITS = "change of KL, in nats", "change of a logit or a difference of logits, in logits"


@pytest.fixture
def given(model_folder: Callable[[], Path], tmp_path: Path) -> list[object]:
    """The options that name a tiny model and its dictionary."""
    sae = tiny.dictionary()
    assert sae.statistics is not None
    catalogue.save(sae, tmp_path / "sae")
    sae.statistics.save(tmp_path / "sae")
    return ["--model", model_folder(), "--dictionary", tmp_path / "sae"]


COMMANDS = {
    "sweep": (["sweep", tiny.PROMPT, "--draws", 1], KL),
    "sweep of a logit": (["sweep", tiny.PROMPT, "--draws", 0, "--answer", " w5"], LOGITS),
    "dose": (["dose", 5, tiny.PROMPT, "--dose", "1x", "--continuation", 0], KL),
    "attribution": (["attribution", tiny.PROMPT, "--answer", " w5"], LOGITS),
    "direct": (["direct", tiny.PROMPT, "--clamp", "5=2x", "--draws", 1], KL),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_table_says_metric_unit_and_dtype(name: str, run: Run, given: list[object]) -> None:
    arguments, metric = COMMANDS[name]
    code, out, err = run(*arguments, *given)
    assert (code, err) == (0, "")
    words = " ".join(out.split())
    assert metric in words
    assert "float32" in words
    assert "Divergence" not in words
    code, out, _ = run(*arguments, *given, "--json")
    assert code == 0
    assert json.loads(out)["dtype"] == "float32"


def test_what_an_edit_promotes_is_in_logits(run: Run, given: list[object]) -> None:
    assert "promotes     Δ logit: " in run("explain", "--clamp", "5=2x", *given).out
