"""A dictionary in the layout of a published release, and files that are spoilt after that."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from dictionaries.dictionary import Dictionary
from dictionaries.formats import dictionary_learning, saelens, sparsify
from dictionaries.sites import TO_TRANSFORMER_LENS

Write = Callable[[Dictionary, Path], Path]
"""Writes a release into a folder; returns the path below it that is its address."""


def _folder(write: Callable[[Dictionary, Path], None]) -> Write:
    def into(given: Dictionary, folder: Path) -> Path:
        write(given, folder)
        return folder

    return into


def _saelens_flat(given: Dictionary, folder: Path) -> Path:
    """As before 6.0: one level, other names, and a decoder bias that is subtracted unsaid."""
    saelens.write(replace(given, b_enc=given.b_enc + given.b_dec @ given.W_enc), folder)
    kind, _, layer = str(given.config.hookpoint).rpartition(".")
    said = {
        "model_name": "gpt2-small",
        "hook_point": f"blocks.{layer}.{TO_TRANSFORMER_LENS[kind]}",
        "hook_point_layer": int(layer),
        "hook_point_head_index": None,
        "dataset_path": "Skylion007/openwebtext",
        "context_size": 128,
        "d_in": given.config.d_in,
        "d_sae": given.config.width,
        "expansion_factor": 32,
        "l1_coefficient": 8e-05,
        "dtype": "torch.float32",
    }
    (folder / "cfg.json").write_text(json.dumps(said))
    return folder


def _layer(given: Dictionary) -> str:
    return str(given.config.hookpoint).rpartition(".")[2]


def _named(given: Dictionary) -> dict[str, Tensor]:
    names = ("W_enc", "b_enc", "W_dec", "b_dec", "threshold")
    return {n: getattr(given, n).clone().contiguous() for n in names if hasattr(given, n)}


def _gemma_scope(given: Dictionary, folder: Path) -> Path:
    kind = {"resid_post": "res", "mlp_out": "mlp", "attn_z": "att"}[_kind(given)]
    inside = folder / f"gemma-scope-2b-pt-{kind}" / f"layer_{_layer(given)}" / "average_l0_6"
    inside.mkdir(parents=True)
    arrays: dict[str, Any] = {name: tensor.numpy() for name, tensor in _named(given).items()}
    np.savez(inside / "params.npz", **arrays)
    return inside


def _gemma_scope_2(given: Dictionary, folder: Path) -> Path:
    folder.mkdir(parents=True)
    block = f"model.layers.{_layer(given)}"
    module = {
        "resid_post": "output",
        "mlp_out": "post_feedforward_layernorm.output",
        "mlp_in": "pre_feedforward_layernorm.output",
    }
    said: dict[str, Any] = {
        "architecture": "jump_relu",
        "model_name": "tiny",
        "hf_hook_point_in": f"{block}.{module[_kind(given)]}",
    }
    if given.is_transcoder:
        said["hf_hook_point_out"] = f"{block}.{module['mlp_out']}"
    save_file(
        {name.lower(): tensor for name, tensor in _named(given).items()},
        folder / "params.safetensors",
    )
    (folder / "config.json").write_text(json.dumps(said))
    return folder


def _kind(given: Dictionary) -> str:
    return str(given.config.hookpoint).rpartition(".")[0]


def _linear(given: Dictionary, inner: str) -> dict[str, Tensor]:
    return {
        f"encoder{inner}.weight": given.W_enc.T.contiguous(),
        f"encoder{inner}.bias": given.b_enc.clone(),
        f"decoder{inner}.weight": given.W_dec.T.contiguous(),
        f"decoder{inner}.bias": given.b_dec.clone(),
    }


def _goodfire(given: Dictionary, folder: Path) -> Path:
    folder.mkdir(parents=True)
    torch.save(_linear(given, "_linear"), folder / f"Llama-Tiny-SAE-l{_layer(given)}.pth")
    return folder


def _qwen_scope(given: Any, folder: Path) -> Path:
    inside = folder / f"SAE-Res-Tiny-W1K-L0_{given.k}"
    inside.mkdir(parents=True)
    state = _named(given) | {
        "W_enc": given.W_enc.T.contiguous(),
        "W_dec": given.W_dec.T.contiguous(),
    }
    torch.save(state, inside / f"layer{_layer(given)}.sae.pt")
    return inside


def _openai(given: Any, folder: Path) -> Path:
    inside = folder / "resid_post_mlp_v5_32k" / "autoencoders"
    inside.mkdir(parents=True)
    path = inside / f"{_layer(given)}.pt"
    state = {
        "pre_bias": given.b_dec.clone(),
        "encoder.weight": given.W_enc.T.contiguous(),
        "latent_bias": given.b_enc + given.b_dec @ given.W_enc,
        "decoder.weight": given.W_dec.T.contiguous(),
        "activation": "TopK",
        "activation_state_dict": {"k": given.k, "postact_fn": "ReLU"},
    }
    torch.save(state, path)
    return path


def _circuit_tracer(given: Dictionary, folder: Path) -> Path:
    folder.mkdir(parents=True)
    state = {k: v for k, v in _named(given).items() if k != "threshold"}
    state |= {"W_enc": given.W_enc.T.contiguous()}
    save_file(
        {**state, "activation_function.threshold": given.threshold},  # type: ignore[attr-defined]
        folder / f"layer_{_layer(given)}.safetensors",
    )
    hooks = {"feature_input_hook": "mlp.hook_in", "feature_output_hook": "hook_mlp_out"}
    lines = [f"{key}: {value}" for key, value in hooks.items()]
    (folder / "config.yaml").write_text("\n".join(["model_name: tiny", *lines]) + "\n")
    return folder / f"layer_{_layer(given)}.safetensors"


WRITERS: dict[str, Write] = {
    "saelens": _folder(saelens.write),
    "saelens_flat": _saelens_flat,
    "sparsify": _folder(sparsify.write),
    "dictionary_learning": _folder(dictionary_learning.write),
    "gemma_scope": _gemma_scope,
    "gemma_scope_2": _gemma_scope_2,
    "goodfire": _goodfire,
    "qwen_scope": _qwen_scope,
    "openai": _openai,
    "circuit_tracer": _circuit_tracer,
}


def change_tensors(path: Path, change: Callable[[str, Tensor], Tensor]) -> None:
    """Each tensor of a release's one weights file."""
    if path.is_dir():
        (path,) = (p for p in path.iterdir() if p.suffix in (".safetensors", ".npz", ".pt", ".pth"))
    match path.suffix:
        case ".safetensors":
            tensors = {n: change(n, t).contiguous() for n, t in load_file(path).items()}
            save_file(tensors, path)
        case ".npz":
            arrays = {n: change(n, torch.from_numpy(a)) for n, a in np.load(path).items()}
            numbers: dict[str, Any] = {n: t.contiguous().numpy() for n, t in arrays.items()}
            np.savez(path, **numbers)
        case _:
            state = torch.load(path, weights_only=True)
            torch.save(
                {
                    n: change(n, t).contiguous() if isinstance(t, Tensor) else t
                    for n, t in state.items()
                },
                path,
            )


def transpose(name: str) -> Callable[[Path], None]:
    """The tensor of this name the other way round."""
    return lambda path: change_tensors(path, lambda n, t: t.T if n == name else t)


def store_as(dtype: torch.dtype) -> Callable[[Path], None]:
    """All weights in another dtype."""
    return lambda path: change_tensors(
        path, lambda _, t: t.to(dtype) if t.is_floating_point() else t
    )


def say(file: str, **keys: Any) -> Callable[[Path], None]:
    """Keys of a config, over those that it has."""

    def spoil(path: Path) -> None:
        said = json.loads((path / file).read_text())
        (path / file).write_text(json.dumps({**said, **keys}))

    return spoil
