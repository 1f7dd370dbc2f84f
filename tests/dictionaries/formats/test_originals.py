"""Golden files by the original code of circuit-tracer, OpenAI, Llama Scope and the seed paper."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from dictionaries import catalogue
from dictionaries.formats import hoagyc, load_folder
from tests.support import GOLDEN

Agrees = Callable[[Tensor, Tensor], None]


def cases(library: str) -> list[str]:
    document: list[str] = json.loads((GOLDEN / library / "VERSIONS.json").read_text())["cases"]
    return document


CIRCUIT_TRACER = cases("circuit_tracer")


@pytest.mark.parametrize("case", [c for c in CIRCUIT_TRACER if not c.startswith("clt")])
def test_circuit_tracer(case: str, assert_agrees: Agrees) -> None:
    folder = GOLDEN / "circuit_tracer" / case
    expected = load_file(folder / "expected.safetensors")
    dictionary = load_folder(folder)
    assert_agrees(dictionary.encode(expected["x"])[0], expected["features"])
    assert_agrees(dictionary.reconstruct(expected["x"]), expected["reconstruction"])
    if case != "gemma_scope":  # whose release says its sites by its folders
        assert dictionary.config.hookpoint == "mlp_in.5"
        assert dictionary.config.hookpoint_out == "mlp_out.5"


@pytest.mark.parametrize("case", [c for c in CIRCUIT_TRACER if c.startswith("clt")])
def test_circuit_tracer_across_layers(case: str, assert_agrees: Agrees) -> None:
    """Every site is the sum of what all blocks up to it write there."""
    folder = GOLDEN / "circuit_tracer" / case
    expected = load_file(folder / "expected.safetensors")
    written = torch.zeros_like(expected["reconstruction"])
    for layer, x in enumerate(expected["x"]):
        block = catalogue.load(f"{folder}#{layer}")
        assert block.config.hookpoint == f"mlp_in.{layer}"
        assert block.config.hookpoint_out == f"mlp_out.{layer}"
        features, norm = block.encode(x)
        assert_agrees(features, expected["features"][layer])
        written[layer] += block.written(features, norm)
        if block.W_skip is not None:
            written[layer] += x @ block.W_skip
        for later in range(layer + 1, len(written)):
            assert block.later is not None
            written[later] += features @ block.later.at(f"mlp_out.{later}")
    assert_agrees(written, expected["reconstruction"])


@pytest.mark.parametrize("case", cases("openai"))
def test_openai(case: str, assert_agrees: Agrees) -> None:
    folder = GOLDEN / "openai" / case
    expected = load_file(folder / "expected.safetensors")
    dictionary = load_folder(folder / "resid_post_mlp_v5_32k" / "autoencoders" / "8.pt")
    assert dictionary.config.hookpoint == "resid_post.8"
    assert_agrees(dictionary.encode(expected["x"])[0], expected["features"])
    assert_agrees(dictionary.reconstruct(expected["x"]), expected["reconstruction"])


@pytest.mark.parametrize("index", range(len(cases("hoagyc"))))
def test_the_seed_papers_own(index: int, assert_agrees: Agrees) -> None:
    folder = GOLDEN / "hoagyc"
    expected = load_file(folder / f"{index}.safetensors")
    dictionary = hoagyc.read(folder, index=index)
    assert_agrees(dictionary.encode(expected["x"])[0], expected["features"])
    assert_agrees(dictionary.reconstruct(expected["x"]), expected["reconstruction"])


@pytest.mark.parametrize("case", cases("llama_scope"))
def test_llama_scope(case: str, assert_agrees: Agrees) -> None:
    """Its features are gated by what they write, so that is compared: both have own units."""
    folder = GOLDEN / "llama_scope" / case
    expected = load_file(folder / "expected.safetensors")
    dictionary = load_folder(folder)
    written = dictionary.encode(expected["x"])[0] * dictionary.W_dec.norm(dim=-1)
    assert_agrees(written, expected["written"])
    assert_agrees(dictionary.reconstruct(expected["x"]), expected["reconstruction"])
    assert 0 < (written != 0).float().mean() < 1
