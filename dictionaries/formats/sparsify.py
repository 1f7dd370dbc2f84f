"""EleutherAI sparsify: `cfg.json` and `sae.safetensors`, read and written.

TopK or group-max; the decoder bias is subtracted from the input unless it transcodes. The folder's
name is the module: an SAE is of its output, a transcoder goes from its input to its output.
Source: eai-sparsify 1.3.3, `sparse_coder.py`, `fused_encoder.py`.

Before February 2025 (commit f02711e) cfg.json had no `transcode`: the run's config.json above says
it, only transcoders had a skip connection, and they too subtracted the decoder bias.

    encoder.weight [m, d]  encoder.bias [m]  W_dec [m, d]  b_dec [d]  W_skip [d, d] (x @ W_skip.T)
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from dictionaries.architectures import AbsTopK, GroupMax, TopK
from dictionaries.dictionary import Dictionary
from dictionaries.errors import FormatError
from dictionaries.files.keys import Keys
from dictionaries.files.tensors import SafeTensors, read_json, save_tensors, whole_number
from dictionaries.files.whole import write_whole
from dictionaries.formats.fold import Conventions, fold
from dictionaries.formats.layout import Stored, config_of, refuse_features, take
from dictionaries.sites import from_module

CONFIG, WEIGHTS = "cfg.json", "sae.safetensors"
LOOKS_LIKE = f"{WEIGHTS} with {CONFIG} (sparsify)"

_LAYOUT = {
    "W_enc": Stored("encoder.weight"),
    "b_enc": Stored("encoder.bias"),
    "W_dec": Stored("W_dec"),
    "b_dec": Stored("b_dec", None),
}
_SITES = ("hookpoint", "hookpoint_out", "model")
"""Keys that we add when writing; sparsify ignores them, and says the site by the folder's name."""
_KEYS = Keys(
    used=(*_SITES, "d_in", "num_latents", "expansion_factor", "k", "signed", "skip_connection",
          "transcode"),
    harmless=("normalize_decoder", "multi_topk", "naive_decoder"),  # of the training, or how fast
    only={"activation": ("topk", "groupmax")},
)  # fmt: skip
"""Of cfg.json: what `SaeConfig` and `SparseCoderConfig` have had on the main branch."""


def matches(folder: Path) -> bool:
    """Whether the folder holds sparsify's weights."""
    return (folder / WEIGHTS).is_file()


def read(folder: Path, *, features: Sequence[int] | None = None) -> Dictionary:
    """Load it. Raises `FormatError` for a damaged file, `NotSeparableError` for `features`."""
    refuse_features(folder.name, features)
    path = folder / CONFIG
    cfg = read_json(path)
    _KEYS.check(cfg, path)
    d_in, transcodes = whole_number(cfg, "d_in", path), _transcodes(cfg, folder)
    subtracts = not transcodes or "transcode" not in cfg
    width = cfg.get("num_latents") or d_in * whole_number(cfg, "expansion_factor", path)
    if not isinstance(width, int):
        raise FormatError(f"{path} says num_latents = {width!r}, expected an integer")
    file = SafeTensors(folder / WEIGHTS)
    skips = bool(cfg.get("skip_connection"))
    file.expect([s.name for s in _LAYOUT.values()] + ["W_skip"] * skips)
    layout = {**_LAYOUT, "W_skip": Stored("W_skip", None, transposed=True)} if skips else _LAYOUT
    tensors = take(file, layout, d_in=d_in, d_out=d_in, width=width)
    about: dict[str, Any] = {
        **fold(tensors, Conventions(subtracts_b_dec=subtracts)),
        "config": config_of(tensors, d_out=d_in if transcodes else None, **_sites(cfg, folder)),
        "name": folder.name,
        "k": whole_number(cfg, "k", path, most=width),
    }
    if cfg.get("activation") == "groupmax":
        return GroupMax(**about)
    # `signed` is of older releases: the largest magnitudes, without a ReLU
    return AbsTopK(**about) if cfg.get("signed") else TopK(**about)


def _run(folder: Path) -> dict[str, Any]:
    """What the training run's config.json says, if it's there."""
    root = folder.parent / "config.json"
    return read_json(root) if root.is_file() else {}


def _transcodes(cfg: dict[str, Any], folder: Path) -> bool:
    said = cfg.get("transcode", cfg.get("skip_connection") or _run(folder).get("transcode"))
    return bool(said)


def _sites(cfg: dict[str, Any], folder: Path) -> dict[str, Any]:
    if any(name in cfg for name in _SITES):
        return {name: cfg.get(name) for name in _SITES}
    model, named = _run(folder).get("model"), folder.absolute().name
    if not _transcodes(cfg, folder):
        return {"hookpoint": from_module(named, "output", model), "model": model}
    return {
        "hookpoint": from_module(named, "input", model),
        "hookpoint_out": from_module(named, "output", model),
        "model": model,
    }


def write(dictionary: Dictionary, folder: Path) -> None:
    """Write cfg.json and sae.safetensors. Raises `FormatError` for what sparsify does not have."""
    config = dictionary.config
    k = getattr(dictionary, "k", None)
    if dictionary.architecture not in ("topk", "groupmax") or config.normalisation != "none":
        raise FormatError(
            f"sparsify has TopK and group-max of the raw site, so {dictionary!r} can't be written"
        )
    if config.d_out not in (None, config.d_in):
        raise FormatError("sparsify's transcoders write a site as wide as the one they read")
    W_enc, b_dec = dictionary.W_enc.double(), dictionary.b_dec.double()
    shift = 0.0 if dictionary.is_transcoder else b_dec @ W_enc
    tensors = {
        "encoder.weight": dictionary.W_enc.T,
        "encoder.bias": dictionary.b_enc + shift,
        "W_dec": dictionary.W_dec,
        "b_dec": dictionary.b_dec,
    }
    if dictionary.W_skip is not None:
        tensors["W_skip"] = dictionary.W_skip.T
    cfg = {
        "activation": dictionary.architecture,
        "expansion_factor": max(1, dictionary.width // config.d_in),
        "normalize_decoder": False,
        "num_latents": dictionary.width,
        "k": k,
        "multi_topk": False,
        "skip_connection": dictionary.W_skip is not None,
        "transcode": dictionary.is_transcoder,
        "d_in": config.d_in,
        **{name: getattr(config, name) for name in _SITES},
    }
    folder.mkdir(parents=True, exist_ok=True)
    stored = {name: tensor.to(torch.float32) for name, tensor in tensors.items()}
    save_tensors(stored, folder / WEIGHTS)
    write_whole(folder / CONFIG, json.dumps(cfg, indent=1) + "\n")
