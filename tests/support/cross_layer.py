"""Random cross-layer transcoders as files, and what they do as plain transcoders."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

import steer
from dictionaries.dictionary import Dictionary
from tests.support.plain import PlainEdit
from tests.support.tiny import LAYERS, WIDTH, D

CONFIG = {
    "model_name": "tiny",
    "feature_input_hook": "mlp.hook_in",
    "feature_output_hook": "hook_mlp_out",
}
SCOPE = {
    "hf_hook_point_in": "model.layers.{all}.pre_feedforward_layernorm.output",
    "hf_hook_point_out": "model.layers.{all}.post_feedforward_layernorm.output",
    "model_name": "tiny",
    "architecture": "jump_relu",
    "type": "clt",
}
EDITS = [steer.Clamp(5, 3.0), steer.Scale(9, 3.0, positions="1:"), steer.Ablate(20)]
FORMULAE = [
    PlainEdit(5, "clamp", 3.0),
    PlainEdit(9, "scale", 3.0, lambda position, prompt: position >= 1),
    PlainEdit(20, "ablate"),
]
Blocks = list[dict[str, Tensor]]
"""W_enc [m, d], b_enc, threshold [m], b_dec [d], W_dec [m, blocks from its own on, d] of each."""


def random_blocks() -> Blocks:
    generator = torch.Generator().manual_seed(0)

    def n(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    return [
        {
            "W_enc": n(WIDTH, D),
            "b_enc": n(WIDTH),
            "b_dec": n(D),
            "threshold": n(WIDTH).abs(),
            "W_dec": n(WIDTH, LAYERS - layer, D) / D**0.5,
        }
        for layer in range(LAYERS)
    ]


def write_pairs(place: Path, blocks: Blocks) -> Path:
    """As circuit-tracer does."""
    place.mkdir(exist_ok=True)
    for layer, block in enumerate(blocks):
        encoder = {f"{name}_{layer}": t for name, t in block.items() if name != "W_dec"}
        save_file(encoder, place / f"W_enc_{layer}.safetensors")
        save_file({f"W_dec_{layer}": block["W_dec"]}, place / f"W_dec_{layer}.safetensors")
    (place / "config.yaml").write_text(json.dumps(CONFIG))
    return place


def write_scope(place: Path, blocks: Blocks, skip: Tensor | None = None) -> Path:
    """As Gemma Scope 2 does: the encoder turned, and places for earlier blocks, not used."""
    place.mkdir(exist_ok=True)
    for layer, block in enumerate(blocks):
        unused = torch.full((WIDTH, layer, D), 7.0)
        tensors = {name.lower(): tensor for name, tensor in block.items()}
        tensors["w_enc"] = tensors["w_enc"].T.contiguous()
        tensors["w_dec"] = torch.cat([unused, block["W_dec"]], dim=1)
        if skip is not None:
            tensors["affine_skip_connection"] = skip
        save_file(tensors, place / f"params_layer_{layer}.safetensors")
    (place / "config.json").write_text(json.dumps(SCOPE))
    return place


def parts(dictionary: Dictionary) -> list[Dictionary]:
    """A plain transcoder for each site that it writes."""
    assert dictionary.config.hookpoint_out is not None
    sites = [(dictionary.config.hookpoint_out, dictionary.W_dec)]
    if dictionary.later is not None:
        sites += [(site, dictionary.later.at(site)) for site in dictionary.later.hookpoints]
    return [
        replace(
            dictionary, W_dec=rows, later=None, config=replace(dictionary.config, hookpoint_out=out)
        )
        for out, rows in sites
    ]
