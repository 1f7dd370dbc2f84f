"""Configs of real releases: each is found, read, and placed where its release says.

The configs are the published ones (`tests/golden/published/configs.json` says from where). The
weights are random, and smaller: only d and the number of features are changed in the config.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from dictionaries.errors import FormatError
from dictionaries.formats import load_folder
from tests.support import GOLDEN

PUBLISHED = GOLDEN / "published" / "configs.json"
CASES = json.loads(PUBLISHED.read_text())["cases"]
D, M, K = 8, 24, 5
SIZES = {
    "d_in": D, "d_model": D, "activation_dim": D,
    "d_sae": M, "num_latents": M, "dict_size": M, "width": M,
    "expansion_factor": M // D, "k": K,
}  # fmt: skip


def smaller(config: Any) -> Any:
    """The config with our sizes; nothing is added and nothing else changes."""
    if not isinstance(config, dict):
        return config
    return {key: SIZES.get(key, smaller(value)) for key, value in config.items()}


def weights(case: dict[str, Any]) -> tuple[str, dict[str, Tensor]]:
    """File and random tensors in the release's own layout."""
    generator = torch.Generator().manual_seed(0)

    def n(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    linear = {"encoder.weight": n(M, D), "encoder.bias": n(M), "decoder.weight": n(D, M)}
    named = {"W_enc": n(D, M), "b_enc": n(M), "W_dec": n(M, D), "b_dec": n(D)}
    gated = {**named, "threshold": n(M).abs()}
    match case["weights"]:
        case "saelens":
            return "sae_weights.safetensors", named
        case "gemma_scope":
            return "params.npz", gated
        case "gemma_scope_2":
            tensors = {name.lower(): tensor for name, tensor in gated.items()}
            if case["config"].get("type") in ("clt", "crosscoder"):
                tensors["w_dec"] = n(M, 4, D)
                return "params_layer_0.safetensors", tensors
            return "params.safetensors", tensors
        case "llama_scope":
            return "checkpoints/final.safetensors", {**linear, "decoder.bias": n(D)}
        case "qwen_scope":
            turned = {"W_enc": n(M, D), "b_enc": n(M), "W_dec": n(D, M), "b_dec": n(D)}
            return "layer5.sae.pt", turned
        case "dictionary_learning":
            state = {**linear, "b_dec": n(D), "k": torch.tensor(K), "threshold": torch.tensor(0.1)}
            return "ae.pt", state
        case "sparsify":
            tensors = {"encoder.weight": n(M, D), "encoder.bias": n(M), "W_dec": n(M, D)}
            skips = {"W_skip": n(D, D)} if case["config"].get("skip_connection") else {}
            return "sae.safetensors", {**tensors, "b_dec": n(D), **skips}
    raise ValueError(case["weights"])


def lay_out(case: dict[str, Any], root: Path) -> Path:
    folder = root / case["at"]
    file, tensors = weights(case)
    path = folder / file
    path.parent.mkdir(parents=True)
    if case["config_file"]:
        (folder / case["config_file"]).write_text(json.dumps(smaller(case["config"])))
    if path.suffix == ".safetensors":
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path)
    elif path.suffix == ".npz":
        arrays: dict[str, Any] = {name: tensor.numpy() for name, tensor in tensors.items()}
        np.savez(path, **arrays)
    else:
        torch.save(tensors, path)
    return folder


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_is_read_as_its_release_says(case: dict[str, Any], tmp_path: Path, x: Tensor) -> None:
    folder, expected = lay_out(case, tmp_path), case["expect"]
    if refused := expected.get("refused"):
        with pytest.raises(FormatError, match=refused):
            load_folder(folder)
        return
    dictionary = load_folder(folder)
    config = dictionary.config
    assert dictionary.architecture == expected["architecture"]
    assert (config.d_in, config.width) == (D, M)
    for name in ("hookpoint", "hookpoint_out", "model"):
        assert getattr(config, name) == expected.get(name), name
    assert getattr(dictionary, "k", K) == K
    assert dictionary.reconstruct(x).isfinite().all()


def test_an_early_transcoder_subtracts_its_bias(tmp_path: Path, x: Tensor) -> None:
    """sparsify's own code did until February 2025, and reads its old files so no longer."""
    (case,) = [c for c in CASES if c["config"] and c["config"].get("skip_connection")]
    folder, (_, t) = lay_out(case, tmp_path), weights(case)
    pre = ((x - t["b_dec"]) @ t["encoder.weight"].T + t["encoder.bias"]).relu()
    values, index = pre.topk(K)
    features = torch.zeros_like(pre).scatter(-1, index, values)
    dictionary = load_folder(folder)
    torch.testing.assert_close(dictionary.encode(x)[0], features)
    whole = features @ t["W_dec"] + t["b_dec"] + x @ t["W_skip"].T
    torch.testing.assert_close(dictionary.reconstruct(x), whole)
    later = json.loads((folder / "cfg.json").read_text()) | {"transcode": True}
    (folder / "cfg.json").write_text(json.dumps(later))
    pre = (x @ t["encoder.weight"].T + t["encoder.bias"]).relu()
    torch.testing.assert_close(load_folder(folder).encode(x)[0].amax(-1), pre.amax(-1))
