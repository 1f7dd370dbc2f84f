"""Llama Scope: `hyperparams.json` and `checkpoints/final.safetensors`.

JumpReLU of inputs scaled by s = sqrt(d) / average norm, which the config states. There is one
threshold, in unscaled units, of what a feature writes: its activation times the norm of its
decoder row, unless the config's `sparsity_include_decoder_norm` is false. No decoder bias is
subtracted. A transcoder's outputs were scaled by the average norm of the site that it writes.
Source: He et al. 2024; OpenMOSS/Language-Model-SAEs f731517, `sae.py`. (sae_lens 6.54.12,
`llama_scope_sae_huggingface_loader`, leaves out the rows' norms, and divides a transcoder's outputs
by s too: too large.)

    encoder.weight [m, d], .bias [m]  decoder.weight [d, m], .bias [d]
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from dictionaries.architectures import JumpReLU
from dictionaries.dictionary import Dictionary
from dictionaries.errors import FormatError
from dictionaries.files.keys import Keys
from dictionaries.files.tensors import SafeTensors, read_json, whole_number
from dictionaries.formats.fold import Conventions, fold
from dictionaries.formats.layout import LINEAR, config_of, take
from dictionaries.sites import from_transformer_lens

CONFIG, WEIGHTS = "hyperparams.json", "checkpoints/final.safetensors"
LOOKS_LIKE = f"{WEIGHTS} with {CONFIG} (Llama Scope)"
_KEYS = Keys(
    used=("hook_point_in", "hook_point_out", "d_model", "d_sae", "jump_relu_threshold",
          "sparsity_include_decoder_norm", "model_name"),
    harmless=("device", "seed", "dtype", "expansion_factor", "bias_init_method", "top_k",
              "decoder_exactly_fixed_norm", "init_decoder_norm", "init_encoder_norm",
              "init_encoder_with_decoder_transpose", "lp", "l1_coefficient",
              "l1_coefficient_warmup_steps", "initial_k", "k_warmup_steps", "use_batch_norm_mse",
              "use_ghost_grads", "tp_size", "ddp_size", "sae_pretrained_name_or_path",
              "strict_loading"),
    only={
        "act_fn": ("jumprelu", "topk"),  # topk with a threshold is used as jumprelu
        "norm_activation": ("dataset-wise",),
        "use_decoder_bias": (True,),
        "apply_decoder_bias_to_pre_encoder": (False,),
        "use_glu_encoder": (False,),
        "sae_type": ("sae",),
    },
    inside={"dataset_average_activation_norm": Keys(("in", "out"))},
)  # fmt: skip
"""Of hyperparams.json: what `SAEConfig` had from October 2024 to February 2025."""

_LEAST = 1e-12
"""A row of this norm or less writes nothing, whatever its activation."""


def matches(folder: Path) -> bool:
    """Whether the folder holds Llama Scope's weights."""
    return (folder / WEIGHTS).is_file()


def read(folder: Path, *, features: Sequence[int] | None = None) -> Dictionary:
    """Load it. Raises `FormatError` for a damaged file."""
    path = folder / CONFIG
    said = read_json(path)
    _KEYS.check(said, path)
    norms = said.get("dataset_average_activation_norm")
    site = said.get("hook_point_in")
    out = said.get("hook_point_out", site)
    if not isinstance(site, str) or not isinstance(out, str):
        raise FormatError(f"{path}: hook_point_in and hook_point_out must name a site each")
    if not isinstance(norms, dict):
        raise FormatError(f"{path} lacks dataset_average_activation_norm, which scales the inputs")
    d_in = whole_number(said, "d_model", path)
    scale = d_in**0.5 / _positive(norms, "in", path)
    file = SafeTensors(folder / WEIGHTS, features)
    file.expect([stored.name for stored in LINEAR.values()])
    width = whole_number(said, "d_sae", path)
    tensors = take(file, LINEAR, d_in=d_in, d_out=d_in, width=width)
    written = tensors["W_dec"].norm(dim=-1).clamp(min=_LEAST)
    tensors = fold(tensors, Conventions(input_scale=scale))
    about: dict[str, Any] = {"hookpoint": from_transformer_lens(site)}
    if out == site and norms.get("out", norms["in"]) != norms["in"]:
        raise FormatError(f"{path} states two average norms, of what it reads and writes: one site")
    if out != site:
        about |= {"hookpoint_out": from_transformer_lens(out), "d_out": d_in}
        grown = scale * _positive(norms, "out", path) / d_in**0.5  # the fold divided by `scale`
        tensors |= {name: tensors[name] * grown for name in ("W_dec", "b_dec")}
    one = _positive(said, "jump_relu_threshold", path)
    if said.get("sparsity_include_decoder_norm", True):
        threshold = one * d_in**0.5 / _positive(norms, "out", path, norms["in"]) / written
    else:
        threshold = torch.full_like(tensors["b_enc"], one * scale)
    config = config_of(tensors, model=said.get("model_name"), **about)
    return JumpReLU(**tensors, config=config, name=folder.name, threshold=threshold)


def _positive(values: dict[str, Any], name: str, path: Path, default: float | None = None) -> float:
    value = values.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise FormatError(f"{path} says {name} = {value!r}, expected a number")
    if not 0 < value < float("inf"):
        raise FormatError(f"{path} says {name} = {value}, expected a positive number")
    return float(value)
