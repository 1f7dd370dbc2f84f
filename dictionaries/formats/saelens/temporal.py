"""SAELens's temporal dictionaries.

    W_dec [m, d]   b_dec [d]   W_enc [d, m] unless tied
    attn_layers.{i}.{q_target, k_ctx}.weight [e, m], {v_ctx, c_proj}.weight [m, m], .bias

The encoder reads W_enc/(4 d), which is folded into W_enc here, as the scalar is that inputs are
multiplied by (`constant_scalar_rescale`).
Source: sae_lens 6.54.12, `saes/temporal_sae.py`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dictionaries.architectures.temporal import Temporal
from dictionaries.config import DictionaryConfig
from dictionaries.errors import FormatError
from dictionaries.files.tensors import SafeTensors, Tensors, read_json, whole_number
from dictionaries.formats.saelens.config import SaelensConfig

NAME = "temporal"
_ATTENTION = {"Q": "q_target", "K": "k_ctx", "V": "v_ctx", "O": "c_proj"}
_EPS = 1e-6


def read(folder: Path, cfg: SaelensConfig, file: SafeTensors, scale: float) -> Temporal:
    """Load SAELens's; its inputs are multiplied by `scale`. Raises `FormatError`."""
    if cfg.centred:
        raise FormatError(f"{cfg.path}: a temporal dictionary of a centred residual can't be read")
    config, said = cfg.canonical(cfg.d_sae), read_json(cfg.path)
    names = {"W_dec": "W_dec", "b_dec": "b_dec", "W_enc": "W_enc"}
    return build(folder.name, cfg.path, file, names, config, said, cfg.subtracts_b_dec, scale)


def build(
    name: str,
    path: Path,
    file: Tensors,
    names: dict[str, str],
    config: DictionaryConfig,
    said: dict[str, Any],
    subtracts: bool,
    scale: float,
) -> Temporal:
    """Out of a file's tensors, W_dec, b_dec and W_enc under `names`, and of what `path` said.

    Raises `FormatError` for what is missing, of another shape, or makes no sense.
    """
    d, m = config.d_in, config.width
    tied = said.get("tied_weights", True)
    if not isinstance(tied, bool):
        raise FormatError(f"{path} says tied_weights = {tied!r}, expected true or false")
    heads = whole_number(said, "n_heads", path)
    n = whole_number(said, "n_attn_layers", path, most=len(file.shapes))
    e = m // whole_number(said, "bottleneck_factor", path, most=m)
    parts = {
        f"{kind}_{letter}": [f"attn_layers.{i}.{module}.{ending}" for i in range(n)]
        for letter, module in _ATTENTION.items()
        for kind, ending in (("W", "weight"), ("b", "bias"))
    }
    wanted = [names[ours] for ours in (("W_dec", "b_dec") if tied else names)]
    file.expect([*wanted, *(tensor for every in parts.values() for tensor in every)])
    for ours, shape in {"W_dec": (m, d), "b_dec": (d,), "W_enc": (d, m)}.items():
        if names[ours] in wanted:
            file.check(names[ours], shape)
    for ours, every in parts.items():
        rows = e if ours[-1] in "QK" else m
        for tensor in every:
            file.check(tensor, (rows, m) if ours[0] == "W" else (rows,))
    W_dec, b_dec = file.whole(names["W_dec"]), file.whole(names["b_dec"])
    W_enc = W_dec.T if tied else file.whole(names["W_enc"])
    b_dec = b_dec if subtracts or not tied else torch.zeros_like(b_dec)
    attention: dict[str, Any] = {
        ours: torch.stack([file.whole(tensor) for tensor in every]) for ours, every in parts.items()
    }
    return Temporal(
        W_enc=W_enc * (scale / (4 * d)),
        b_enc=torch.zeros(m),
        W_dec=W_dec / scale,
        b_dec=b_dec / scale,
        config=config,
        name=name,
        centre=b_dec / scale if subtracts else torch.zeros_like(b_dec),
        heads=heads,
        k=_k(said, path, m),
        eps=_EPS / scale,
        **attention,
    )


def _k(said: dict[str, Any], path: Path, width: int) -> int | None:
    kind = said.get("sae_diff_type", "topk")
    if kind not in ("relu", "topk"):
        raise FormatError(f"{path} says sae_diff_type {kind!r}; allowed: relu, topk")
    if kind == "relu" or said.get("kval_topk") is None:
        return None
    return whole_number(said, "kval_topk", path, most=width)


def written(dictionary: Temporal) -> dict[str, Any]:
    """What cfg.json says of it alone. Raises `FormatError` for what SAELens can't express."""
    subtracts = torch.equal(dictionary.centre, dictionary.b_dec)
    if not subtracts and bool(dictionary.centre.any()):
        raise FormatError("SAELens subtracts the decoder bias or nothing: this centre has no place")
    return {
        "apply_b_dec_to_input": subtracts,
        "n_heads": dictionary.heads,
        "n_attn_layers": len(dictionary.W_K),
        "bottleneck_factor": dictionary.width // dictionary.W_K.shape[1],
        "sae_diff_type": "relu" if dictionary.k is None else "topk",
        "kval_topk": dictionary.k,
        "tied_weights": False,
        "activation_normalization_factor": 1.0,
    }


def written_tensors(dictionary: Temporal) -> dict[str, Tensor]:
    """By SAELens's names; the encoder apart, as scaled inputs untie it."""
    tensors = {
        "W_enc": dictionary.W_enc * (4 * dictionary.config.d_in),
        "W_dec": dictionary.W_dec,
        "b_dec": dictionary.b_dec,
    }
    for letter, module in _ATTENTION.items():
        for kind, ending in (("W", "weight"), ("b", "bias")):
            for i, tensor in enumerate(getattr(dictionary, f"{kind}_{letter}")):
                tensors[f"attn_layers.{i}.{module}.{ending}"] = tensor
    return tensors
