"""The shipped dictionaries are found to be loaded right, and one given to another block is not."""

from __future__ import annotations

from dataclasses import replace

import pytest

import steer
from dictionaries import catalogue
from steer.quality.check import check
from steer.quality.docstrings import docstrings


@pytest.fixture(scope="module")
def smollm() -> steer.Model:
    return steer.load("smollm2-135m", device="cpu")


@pytest.fixture
def texts() -> list[str]:
    """About 300 tokens."""
    return [docstrings()[1][:1300]]


@pytest.mark.parametrize("name", catalogue.names())
def test_shipped_dictionaries_are_loaded_right(
    name: str, smollm: steer.Model, texts: list[str]
) -> None:
    checked = check(smollm, name, texts)
    assert checked.passed, str(checked)
    assert checked.as_loaded.fvu < 0.3
    assert 0 < checked.delta_ce < 0.5


def test_another_block_is_found(smollm: steer.Model, texts: list[str]) -> None:
    given = catalogue.load("smollm2-135m/resid_post.20")
    moved = replace(given, card=None, config=replace(given.config, hookpoint="resid_post.19"))
    checked = check(smollm, moved, texts)
    assert (checked.passed, checked.best) == (False, "another block, resid_post.20"), str(checked)
