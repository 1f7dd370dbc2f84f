"""A shipped dictionary is what is published of it; said to be of another block, it is not."""

from __future__ import annotations

from dataclasses import replace

import pytest

import steer
from dictionaries import catalogue
from steer.quality.docstrings import docstrings

NAME, PUBLISHED = "smollm2-135m/resid_post.20", "smollm2-135m-resid_post.20"


@pytest.fixture(scope="module")
def smollm() -> steer.Model:
    return steer.load("smollm2-135m", device="cpu")


@pytest.fixture
def texts() -> list[str]:
    """About 300 tokens."""
    return [docstrings()[1][:1300]]


def test_the_shipped_dictionary_agrees(smollm: steer.Model, texts: list[str]) -> None:
    """Its activations were recorded with transformers alone, by tests/golden/make_published.py."""
    certificate = steer.certify(smollm, NAME, PUBLISHED, texts)
    assert certificate.agrees, str(certificate)
    assert certificate.off is not None
    assert certificate.off < 1e-4
    assert set(certificate.files) >= {"cfg.json", "sae_weights.safetensors"}


def test_another_block_is_named(smollm: steer.Model, texts: list[str]) -> None:
    given = catalogue.load(NAME)
    moved = replace(given, card=None, config=replace(given.config, hookpoint="resid_post.19"))
    certificate = steer.certify(smollm, moved, PUBLISHED, texts)
    assert certificate.verdict.deviation == "block", str(certificate)
    assert certificate.verdict.reading == "another block, resid_post.20"
