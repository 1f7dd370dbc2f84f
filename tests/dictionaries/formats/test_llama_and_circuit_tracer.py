"""Llama Scope and circuit-tracer, written in their documented layouts.

See `documented`. Files that their own code wrote are in `test_originals`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from dictionaries import catalogue
from dictionaries.architectures import JumpReLU
from dictionaries.errors import FormatError
from dictionaries.formats import load_folder
from tests.support.documented import (
    DEC,
    SKIP,
    THETA,
    B,
    C,
    D,
    E,
    M,
    assert_computes,
    gate,
    store,
)

LLAMA = {
    "d_model": D,
    "d_sae": M,
    "jump_relu_threshold": 0.4,
    "hook_point_in": "blocks.3.hook_mlp_out",
    "hook_point_out": "blocks.3.hook_mlp_out",
    "dataset_average_activation_norm": {"in": 7.0, "out": 7.0},
}


def llama_scope(folder: Path, **changes: Any) -> Path:
    tensors = {"encoder.weight": E, "encoder.bias": B, "decoder.weight": DEC.T, "decoder.bias": C}
    store(tensors, folder / "checkpoints" / "final.safetensors")
    (folder / "hyperparams.json").write_text(json.dumps(LLAMA | changes))
    return folder


@pytest.mark.parametrize("includes", [None, True, False])
def test_llama_scope(includes: bool | None, tmp_path: Path, x: Tensor) -> None:
    """The threshold is of what a feature writes, its row's norm included, unless it says not."""
    s = D**0.5 / 7.0
    features = gate(s * x @ E.T + B, 0.4 * s / (1.0 if includes is False else DEC.norm(dim=-1)))
    said = {} if includes is None else {"sparsity_include_decoder_norm": includes}
    dictionary = load_folder(llama_scope(tmp_path, **said))
    assert_computes(dictionary, x, features, (features @ DEC + C) / s)
    assert isinstance(dictionary, JumpReLU)
    assert dictionary.config.hookpoint == "mlp_out.3"


@pytest.mark.parametrize(
    "changes",
    [
        {"dataset_average_activation_norm": None},
        {"dataset_average_activation_norm": {"in": 0}},
        {"jump_relu_threshold": "0.4"},
        {"jump_relu_threshold": -1},
        {"hook_point_out": 4},
        {"d_sae": 23},
    ],
)
def test_llama_scope_refuses(changes: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(FormatError):
        load_folder(llama_scope(tmp_path, **changes))


def test_llama_scope_transcoder(tmp_path: Path, x: Tensor) -> None:
    """Its outputs are in units of the site it writes."""
    changes: dict[str, Any] = {
        "hook_point_in": "blocks.3.ln2.hook_normalized",
        "dataset_average_activation_norm": {"in": 7.0, "out": 2.0},
    }
    s, out = D**0.5 / 7.0, D**0.5 / 2.0
    features = gate(s * x @ E.T + B, 0.4 * out / DEC.norm(dim=-1))
    dictionary = load_folder(llama_scope(tmp_path, **changes))
    assert_computes(dictionary, x, features, (features @ DEC + C) / out)
    config = dictionary.config
    assert (config.hookpoint_out, config.d_out) == ("mlp_out.3", D)
    assert config.hookpoint == "blocks.3.ln2.hook_normalized"  # before the gain


# -- circuit-tracer ----------------------------------------------------------------------------

NAMED = {"W_enc": E, "W_dec": DEC, "b_enc": B, "b_dec": C}
YAML = """model_name: Qwen/Qwen3-4B
feature_input_hook: mlp.hook_in
feature_output_hook: hook_mlp_out
"""


@pytest.mark.parametrize("threshold", [None, THETA, torch.tensor(0.3)])
def test_circuit_tracer(threshold: Tensor | None, tmp_path: Path, x: Tensor) -> None:
    tensors = {**NAMED, "W_skip": SKIP}
    if threshold is not None:
        tensors["activation_function.threshold"] = threshold
    store(tensors, tmp_path / "layer_5.safetensors")
    (tmp_path / "config.yaml").write_text(YAML)
    dictionary = load_folder(tmp_path / "layer_5.safetensors")
    features = gate(x @ E.T + B, 0.0 if threshold is None else threshold)
    assert_computes(dictionary, x, features, features @ DEC + C + x @ SKIP.T)
    config = dictionary.config
    assert (config.hookpoint, config.hookpoint_out) == ("mlp_in.5", "mlp_out.5")
    assert (config.model, config.d_out) == ("Qwen/Qwen3-4B", D)


@pytest.mark.parametrize(
    "extra", [{"k": torch.tensor(5)}, {"activation_function.threshold": -THETA}]
)
def test_circuit_tracer_refuses_signed_features(extra: dict[str, Tensor], tmp_path: Path) -> None:
    store({**NAMED, **extra}, tmp_path / "layer_5.safetensors")
    with pytest.raises(FormatError):
        load_folder(tmp_path)


@pytest.mark.parametrize(
    "text", ["[", "- 1", "model_name: 3", "!!python/object/apply:os.getcwd []"]
)
def test_circuit_tracer_configs(text: str, tmp_path: Path) -> None:
    store(NAMED, tmp_path / "layer_5.safetensors")
    (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(FormatError, match=r"config\.yaml"):
        load_folder(tmp_path)


@pytest.mark.parametrize("layer", [None, "layer_5.safetensors"])
def test_only_some_features(layer: str | None, tmp_path: Path) -> None:
    if layer is None:
        llama_scope(tmp_path)
    else:
        store({**NAMED, "W_skip": SKIP}, tmp_path / layer)
    some, whole = load_folder(tmp_path, features=[9, 0]), load_folder(tmp_path)
    expected = whole.restrict([9, 0])
    assert all(torch.equal(getattr(some, n), getattr(expected, n)) for n in some.tensor_names())


def test_a_block_of_a_folder_with_many(tmp_path: Path, x: Tensor) -> None:
    for layer in (3, 5, 12):
        moved = {**NAMED, "b_dec": torch.full_like(NAMED["b_dec"], layer)}
        store(moved, tmp_path / f"layer_{layer}.safetensors")
    for layer in (3, 5, 12):
        loaded = catalogue.load(f"{tmp_path}#{layer}")
        assert loaded.b_dec.unique().tolist() == [layer]
        same = load_folder(tmp_path / f"layer_{layer}.safetensors")
        assert torch.equal(same.reconstruct(x), loaded.reconstruct(x))
    with pytest.raises(FormatError, match="each of the blocks 3, 5, 12: name one"):
        load_folder(tmp_path)
    with pytest.raises(FormatError, match="no block 4"):
        catalogue.load(f"{tmp_path}#4")
