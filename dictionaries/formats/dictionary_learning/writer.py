"""Writing dictionary_learning's `ae.pt` and `config.json`; see `dictionary_learning`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dictionaries.architectures import AbsTopK, BatchTopK, Gated, GroupMax, JumpReLU, ReLU, TopK
from dictionaries.dictionary import Dictionary
from dictionaries.errors import FormatError
from dictionaries.files.whole import in_one_move, write_whole
from dictionaries.sites import is_sandwiched


def write(dictionary: Dictionary, folder: Path) -> None:
    """Write both files. Raises `FormatError` for what dictionary_learning has no class for."""
    config = dictionary.config
    if dictionary.is_transcoder or dictionary.W_skip is not None or config.normalisation != "none":
        raise FormatError(
            "dictionary_learning has autoencoders of the raw site only, so "
            f"{dictionary!r} can't be written"
        )
    added = (config.hookpoint or "").startswith(("attn_out.", "mlp_out."))
    if added and is_sandwiched(config.model):
        raise FormatError(
            f"dictionary_learning names modules, and no module's output is the {config.hookpoint} "
            f"of {config.model}, which has a norm behind it: {dictionary!r} can't be written"
        )
    dict_class, tensors = _describe(dictionary)
    trainer: dict[str, Any] = {
        "dict_class": dict_class,
        "activation_dim": config.d_in,
        "dict_size": config.width,
        "lm_name": config.model,
        "submodule_name": _submodule(config.hookpoint),
    }
    if isinstance(dictionary, TopK | BatchTopK):
        trainer["k"] = dictionary.k
    folder.mkdir(parents=True, exist_ok=True)
    stored = {name: tensor.cpu().contiguous() for name, tensor in tensors.items()}
    # Loaded tensors may be mapped from the file, and torch writes a path's name into it.
    with in_one_move(folder / "ae.pt") as scratch, scratch.open("wb") as file:
        torch.save(stored, file)
    said = {"trainer": trainer, "buffer": {"d_submodule": config.d_in, "io": "out"}}
    write_whole(folder / "config.json", json.dumps(said, indent=1) + "\n")


def _describe(d: Dictionary) -> tuple[str, dict[str, Tensor]]:
    """The class, and its state dict. All but two classes subtract the decoder bias."""
    named = {"W_enc": d.W_enc, "b_enc": d.b_enc, "W_dec": d.W_dec, "b_dec": d.b_dec}
    linear = {"encoder.weight": d.W_enc.T, "encoder.bias": d.b_enc, "decoder.weight": d.W_dec.T}
    shift = (d.b_dec.double() @ d.W_enc.double()).float()
    match d:
        case AbsTopK() | GroupMax():
            raise FormatError(f"dictionary_learning has no {d.architecture}")
        case TopK():
            state = {**linear, "encoder.bias": d.b_enc + shift, "b_dec": d.b_dec}
            return "AutoEncoderTopK", {**state, **_numbers(d.k, -1.0)}
        case BatchTopK():
            if bool((d.threshold != d.threshold[0]).any()):
                raise FormatError("dictionary_learning's BatchTopK has one threshold for all")
            state = {**linear, "encoder.bias": d.b_enc + shift, "b_dec": d.b_dec}
            return "BatchTopKSAE", {**state, **_numbers(d.k, d.threshold[0].item())}
        case JumpReLU():
            return "JumpReluAutoEncoder", {**named, "threshold": d.threshold}
        case Gated():
            both = d.b_enc + shift
            return "GatedAutoEncoder", {
                "encoder.weight": d.W_enc.T,
                "decoder.weight": d.W_dec.T,
                "decoder_bias": d.b_dec,
                "gate_bias": d.b_gate + both,
                "mag_bias": d.b_mag + d.r_mag.exp() * both,
                "r_mag": d.r_mag,
            }
        case ReLU():
            return "AutoEncoderNew", {**linear, "decoder.bias": d.b_dec}
        case _:
            raise FormatError(f"dictionary_learning has no {d.architecture}")


def _numbers(k: int, threshold: float) -> dict[str, Tensor]:
    return {"k": torch.tensor(k, dtype=torch.int), "threshold": torch.tensor(threshold)}


def _submodule(hookpoint: str | None) -> str | None:
    kind, _, layer = (hookpoint or "").rpartition(".")
    return f"{kind}_layer_{layer}" if kind and layer.isdigit() else hookpoint
