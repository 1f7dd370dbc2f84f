"""A tiny valid folder of every format, for the fuzzer to spoil."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

D, M = 8, 24


def n(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


@dataclass(frozen=True)
class Base:
    """A valid folder. keys: what its config can't do without; others: state that is no tensor."""

    weights: str
    tensors: dict[str, Tensor]
    config: str | None = None
    said: dict[str, Any] = field(default_factory=dict)
    keys: tuple[str, ...] = ()
    others: dict[str, Any] = field(default_factory=dict)

    def write(self, folder: Path) -> Path:
        """The path to load."""
        path = folder / self.weights
        path.parent.mkdir(parents=True, exist_ok=True)
        tensors = {name: tensor.contiguous() for name, tensor in self.tensors.items()}
        if path.suffix == ".safetensors":
            save_file(tensors, path)
        elif path.suffix == ".npz":
            arrays: dict[str, Any] = {name: t.numpy() for name, t in tensors.items()}
            np.savez(path, **arrays)
        else:
            torch.save({**tensors, **self.others}, path)
        if self.config:
            (folder / self.config).write_text(json.dumps(self.said))
        return folder / Path(self.weights).parts[0] if self.config is None else folder


NAMED = {"W_enc": n(D, M), "b_enc": n(M), "W_dec": n(M, D), "b_dec": n(D)}
LINEAR = {"encoder.weight": n(M, D), "encoder.bias": n(M), "decoder.weight": n(D, M)}
THETA = {"threshold": n(M).abs()}
SIZES = {"d_in": D, "d_sae": M}
TEMPORAL = {
    f"attn_layers.0.{module}.{ending}": n(rows, M) if ending == "weight" else n(rows)
    for module, rows in {"q_target": 6, "k_ctx": 6, "v_ctx": M, "c_proj": M}.items()
    for ending in ("weight", "bias")
}
ATTENDS = {
    "n_heads": 2, "n_attn_layers": 1, "bottleneck_factor": 4, "kval_topk": 5,
    "sae_diff_type": "topk", "tied_weights": True,
}  # fmt: skip
NORMS = {"dataset_average_activation_norm": {"in": 2.0}, "jump_relu_threshold": 0.1}
BASES = {
    "saelens": Base(
        "sae_weights.safetensors", {**NAMED, **THETA}, "cfg.json",
        {"architecture": "jumprelu", **SIZES}, ("d_in", "d_sae"),
    ),
    "saelens gated": Base(
        "sae_weights.safetensors",
        {"W_enc": n(D, M), "W_dec": n(M, D), "b_dec": n(D), "b_gate": n(M), "b_mag": n(M),
         "r_mag": n(M)},
        "cfg.json", {"architecture": "gated", **SIZES}, ("d_in", "d_sae"),
    ),
    "saelens topk": Base(
        "sae_weights.safetensors", NAMED, "cfg.json",
        {"architecture": "topk", "k": 5, **SIZES}, ("d_in", "d_sae", "k"),
    ),
    "saelens transcoder": Base(
        "sae_weights.safetensors", {**NAMED, "W_skip": n(D, D)}, "cfg.json",
        {"architecture": "skip_transcoder", "d_out": D, **SIZES}, ("d_in", "d_sae", "d_out"),
    ),
    "saelens temporal": Base(
        "sae_weights.safetensors", {"W_dec": n(M, D), "b_dec": n(D), **TEMPORAL}, "cfg.json",
        {"architecture": "temporal", **SIZES, **ATTENDS},
        ("d_in", "d_sae", "n_heads", "n_attn_layers", "bottleneck_factor"),
    ),
    "temporal": Base(
        "latest_ckpt.safetensors", {"D": n(M, D), "b": n(D), **TEMPORAL}, "conf.yaml",
        {"llm": {"dimin": D}, "sae": {"exp_factor": 3, "scaling_factor": 0.5, **ATTENDS}},
        ("llm", "sae"),
    ),
    "sparsify": Base(
        "sae.safetensors",
        {"encoder.weight": n(M, D), "encoder.bias": n(M), "W_dec": n(M, D), "b_dec": n(D)},
        "cfg.json", {"d_in": D, "num_latents": M, "k": 5}, ("d_in", "num_latents", "k"),
    ),
    "sparsify skip transcoder": Base(
        "sae.safetensors",
        {"encoder.weight": n(M, D), "encoder.bias": n(M), "W_dec": n(M, D), "b_dec": n(D),
         "W_skip": n(D, D)},
        "cfg.json", {"d_in": D, "num_latents": M, "k": 5, "skip_connection": True},
        ("d_in", "num_latents", "k"),
    ),
    "gemma scope": Base("params.npz", {**NAMED, **THETA}, "unused.json"),
    "gemma scope 2": Base(
        "params.safetensors", {k.lower(): t for k, t in {**NAMED, **THETA}.items()}, "config.json",
    ),
    "llama scope": Base(
        "checkpoints/final.safetensors", {**LINEAR, "decoder.bias": n(D)}, "hyperparams.json",
        {"d_model": D, "d_sae": M, "hook_point_in": "blocks.1.hook_resid_post", **NORMS},
        ("d_model", "d_sae", "hook_point_in", *NORMS),
    ),
    "llama scope transcoder": Base(
        "checkpoints/final.safetensors", {**LINEAR, "decoder.bias": n(D)}, "hyperparams.json",
        {"d_model": D, "d_sae": M, "hook_point_in": "blocks.1.ln2.hook_normalized",
         "hook_point_out": "blocks.1.hook_mlp_out", **NORMS,
         "dataset_average_activation_norm": {"in": 2.0, "out": 3.0}},
        ("d_model", "d_sae", "hook_point_out", "dataset_average_activation_norm"),
    ),
    "dictionary_learning": Base(
        "ae.pt", {**LINEAR, "bias": n(D)}, "config.json",
        {"trainer": {"dict_class": "AutoEncoder"}}, ("trainer",),
    ),
    "dictionary_learning batchtopk": Base(
        "ae.pt", {**LINEAR, "b_dec": n(D), "threshold": torch.tensor(0.1)}, "config.json",
        {"trainer": {"dict_class": "BatchTopKSAE", "k": 5}}, ("trainer",),
    ),
    "openai": Base(
        "8.pt",
        {"pre_bias": n(D), "encoder.weight": n(M, D), "latent_bias": n(M),
         "decoder.weight": n(D, M)},
        others={"activation": "ReLU"},
    ),
    "goodfire": Base("x-SAE-l19.pth", {**LINEAR, "decoder.bias": n(D)}),
    "qwen scope": Base(
        "SAE-Res-Q-W1K-L0_5/layer1.sae.pt",
        {"W_enc": n(M, D), "b_enc": n(M), "W_dec": n(D, M), "b_dec": n(D)},
    ),
    "circuit-tracer": Base(
        "layer_1.safetensors",
        {**NAMED, "W_enc": n(M, D), "activation_function.threshold": n(M).abs()},
    ),
    "gemma scope 2 cross-layer": Base(
        "params_layer_1.safetensors",
        {"w_enc": n(D, M), "b_enc": n(M), "w_dec": n(M, 3, D), "b_dec": n(D), **THETA},
    ),
}  # fmt: skip
