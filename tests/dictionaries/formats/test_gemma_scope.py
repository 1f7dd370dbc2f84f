"""Gemma Scope and Gemma Scope 2, written in their documented layouts.

No library of theirs can be installed here: see `documented`. What circuit-tracer computes from
such files is in `test_originals`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

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

GEMMA = {"W_enc": E.T, "b_enc": B, "W_dec": DEC, "b_dec": C, "threshold": THETA}
SCOPE = "gemma-scope-2b-pt-res/layer_20/width_16k/average_l0_71"


def npz(folder: Path, tensors: dict[str, Tensor]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    arrays: dict[str, Any] = {name: tensor.numpy() for name, tensor in tensors.items()}
    np.savez(folder / "params.npz", **arrays)
    return folder


@pytest.mark.parametrize("lower", [False, True])
def test_gemma_scope(lower: bool, tmp_path: Path, x: Tensor) -> None:
    named = {(n.lower() if lower else n): tensor for n, tensor in GEMMA.items()}
    dictionary = load_folder(npz(tmp_path / SCOPE, named))
    features = gate(x @ E.T + B, THETA)
    assert_computes(dictionary, x, features, features @ DEC + C)
    assert dictionary.config.hookpoint == "resid_post.20"
    assert dictionary.config.model == "google/gemma-2-2b"


@pytest.mark.parametrize(
    ("folder", "site"),
    [
        ("gemma-scope-9b-it-res/layer_9/width_16k/average_l0_1", "resid_post.9"),
        ("gemma-scope-2b-pt-att/layer_3/width_16k/average_l0_1", "attn_z.3"),
        ("models--google--gemma-scope-2b-pt-mlp/snapshots/0/layer_3/width_16k/x", "mlp_out.3"),
        ("somewhere/else", None),
    ],
)
def test_gemma_scope_sites(folder: str, site: str | None, tmp_path: Path) -> None:
    config = load_folder(npz(tmp_path / folder, GEMMA)).config
    assert config.hookpoint == site
    assert config.d_out is None


def test_gemma_scope_transcoders_read_before_the_gain(tmp_path: Path) -> None:
    folder = tmp_path / "gemma-scope-2b-pt-transcoders/layer_3/width_16k/average_l0_5"
    config = load_folder(npz(folder, GEMMA)).config
    assert config.hookpoint == "blocks.3.ln2.hook_normalized"
    assert (config.hookpoint_out, config.d_out) == ("mlp_out.3", D)


def scope_2(folder: Path, config: dict[str, Any] | None, **extra: Tensor) -> Path:
    named = {name.lower(): tensor for name, tensor in GEMMA.items()}
    store({**named, **extra}, folder / "params.safetensors")
    if config is not None:
        (folder / "config.json").write_text(json.dumps(config))
    return folder


BLOCK = "model.layers.7"
SCOPE_2 = {
    "resid_post": ("output", None, "resid_post.7", None),
    "attn_out": ("self_attn.o_proj.input", None, "attn_z.7", None),
    "mlp_out": ("post_feedforward_layernorm.output", None, "mlp_out.7", None),
    "transcoder": (
        "pre_feedforward_layernorm.output",
        "post_feedforward_layernorm.output",
        "mlp_in.7",
        "mlp_out.7",
    ),
}


@pytest.mark.parametrize("kind", SCOPE_2)
@pytest.mark.parametrize("with_config", [False, True])
def test_gemma_scope_2_sites(kind: str, with_config: bool, tmp_path: Path) -> None:
    reads, writes, site, site_out = SCOPE_2[kind]
    config: dict[str, Any] = {"architecture": "jump_relu", "model_name": "google/gemma-3-1b-pt"}
    config["hf_hook_point_in"] = f"{BLOCK}.{reads}"
    if writes:
        config["hf_hook_point_out"] = f"{BLOCK}.{writes}"
    folder = tmp_path / kind / "layer_7_width_16k_l0_small"
    read = load_folder(scope_2(folder, config if with_config else None)).config
    assert (read.hookpoint, read.hookpoint_out) == (site, site_out)
    assert read.d_out == (D if site_out else None)


def test_gemma_scope_2_affine(tmp_path: Path, x: Tensor) -> None:
    """The linear part, stored as [d_in, d_out], is not lost."""
    folder = tmp_path / "transcoder_all" / "layer_7_width_16k_l0_small_affine"
    dictionary = load_folder(scope_2(folder, None, affine_skip_connection=SKIP))
    features = gate(x @ E.T + B, THETA)
    assert_computes(dictionary, x, features, features @ DEC + C + x @ SKIP)


def test_gemma_scope_2_refuses_cross_layer_transcoders(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="several sites"):
        load_folder(scope_2(tmp_path, None, w_dec=torch.zeros(M, 3, D)))


def _plain(folder: Path) -> Path:
    return scope_2(folder, None)


def _first(folder: Path) -> Path:
    return npz(folder, GEMMA)


@pytest.mark.parametrize("write", [_first, _plain])
def test_only_some_features(write: Callable[[Path], Path], tmp_path: Path) -> None:
    folder = write(tmp_path)
    some, expected = load_folder(folder, features=[9, 0]), load_folder(folder).restrict([9, 0])
    assert all(torch.equal(getattr(some, n), getattr(expected, n)) for n in some.tensor_names())
