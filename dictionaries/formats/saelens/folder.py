"""SAELens: `cfg.json` and `sae_weights.safetensors` in one folder, read and written.

    W_enc [d_in, d_sae]  W_dec [d_sae, d_out]  b_enc, threshold, b_gate, b_mag, r_mag [d_sae]
    b_dec [d_out]        W_skip [d_out, d_in]

Source: sae_lens 6.54.12, `saes/*.py`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dictionaries.architectures import (
    AbsTopK,
    BatchTopK,
    Gated,
    JumpReLU,
    MatchingPursuit,
    ReLU,
    TanhReLU,
    TopK,
)
from dictionaries.architectures.temporal import Temporal
from dictionaries.dictionary import Dictionary
from dictionaries.errors import FormatError
from dictionaries.files.keys import Keys
from dictionaries.files.tensors import SafeTensors, read_json, save_tensors
from dictionaries.files.whole import write_whole
from dictionaries.formats.fold import Conventions, fold
from dictionaries.formats.layout import NAMED, Canonical, Stored, refuse_features, take, thresholds
from dictionaries.formats.saelens import pursuit as saelens_pursuit
from dictionaries.formats.saelens import temporal as saelens_temporal
from dictionaries.formats.saelens.config import TENSORS, SaelensConfig, read_config
from dictionaries.sites import to_transformer_lens

CONFIG, WEIGHTS, SCALER = "cfg.json", "sae_weights.safetensors", "activation_scaler.json"
LOOKS_LIKE = f"{WEIGHTS} with {CONFIG} (SAELens)"
_LAYOUT = {**NAMED, "W_skip": Stored("W_skip", None, transposed=True)}
_TEMPORAL = saelens_temporal.NAME
_ONE_THRESHOLD = "topk_threshold"
_VERSION = "6.0.0"
"""The generation we write; without a version, sae-lens takes a file for an old one."""


def matches(folder: Path) -> bool:
    """Whether the folder holds SAELens's weights."""
    return (folder / WEIGHTS).is_file()


def read(
    folder: Path,
    *,
    features: Sequence[int] | None = None,
    norm_scale: float | None = None,
    centred: bool = False,
) -> Dictionary:
    """Load a SAELens folder; with `features`, only their rows are read (see `restrict`).

    `norm_scale` is the s = sqrt(d_in) / E‖x‖ of `expected_average_only_in`, for a folder that
    does not hold it; 1.0 says that the weights are folded already. `centred` says that it was
    trained on the residual minus its mean, as gpt2-small-res-jb was, whose cfg.json is silent.
    Raises `FormatError` for a file that is damaged, or whose meaning isn't determined.
    """
    cfg = read_config(folder / CONFIG)
    if cfg.architecture in ("topk", "abstopk", saelens_pursuit.NAME, _TEMPORAL):
        refuse_features(folder.name, features)
    if cfg.architecture == saelens_pursuit.NAME:
        return saelens_pursuit.read(folder, cfg, SafeTensors(folder / WEIGHTS))
    scale = _input_scale(folder, cfg, norm_scale) if cfg.scaled else 1.0
    if cfg.architecture == _TEMPORAL:
        return saelens_temporal.read(folder, cfg, SafeTensors(folder / WEIGHTS), scale)
    conventions = Conventions(
        subtracts_b_dec=cfg.subtracts_b_dec,
        centred=cfg.centred or centred,
        input_scale=scale,
        rescales_by_decoder_norm=cfg.rescales,
    )
    tensors = fold(_read_tensors(folder, cfg, features, scale), conventions)
    about: dict[str, Any] = {
        **tensors,
        "config": cfg.canonical(len(tensors["b_enc"])),
        "name": folder.name,
        **({} if cfg.k is None else {"k": cfg.k}),
    }
    match cfg.architecture:
        case "topk":
            return TopK(**about)
        case "abstopk":
            return AbsTopK(**about)
        case "gated":
            return Gated(**about)
        case "standard" | "transcoder" | "skip_transcoder":
            return TanhReLU(**about) if cfg.tanh else ReLU(**about)
    return JumpReLU(**about) if cfg.k is None else BatchTopK(**about)  # the rest gate by thresholds


def _input_scale(folder: Path, cfg: SaelensConfig, given: float | None) -> float:
    """s of `expected_average_only_in`: given, or from the trainer's file beside cfg.json."""
    scale = cfg.scale if given is None else given
    if scale is None and (folder / SCALER).is_file():
        said = read_json(folder / SCALER)
        Keys(("scaling_factor",), only={"has_whitening": (False,)}).check(said, folder / SCALER)
        scale = said.get("scaling_factor")
    if not isinstance(scale, int | float) or not 0 < scale < float("inf"):
        raise FormatError(
            f"{folder} was trained on inputs scaled by sqrt(d_in) / mean norm, but does not say by "
            f"how much: give norm_scale=..., or write {SCALER} with a positive scaling_factor "
            "(1.0 if the weights are folded already)"
        )
    return float(scale)


def _read_tensors(
    folder: Path, cfg: SaelensConfig, features: Sequence[int] | None, scale: float
) -> Canonical:
    file = SafeTensors(folder / WEIGHTS, features)
    names = list(cfg.tensors)
    if "threshold" in names and "log_threshold" in file.shapes:  # older checkpoints
        names[names.index("threshold")] = "log_threshold"
    file.expect(names, optional=("scaling_factor",))
    if "scaling_factor" in file.shapes and bool((file.whole("scaling_factor") != 1).any()):
        raise FormatError(f"{file.path}: scaling_factor other than ones can't be read")
    layout = {n: _LAYOUT.get(n, Stored(n)) for n in names if n != _ONE_THRESHOLD}
    tensors = take(file, layout, d_in=cfg.d_in, d_out=cfg.d_out or cfg.d_in, width=cfg.d_sae)
    if "log_threshold" in tensors:
        tensors["threshold"] = tensors.pop("log_threshold").exp()
    if _ONE_THRESHOLD in names:
        one = _one_threshold(file) / (scale if cfg.rescales else 1.0)
        tensors["threshold"] = torch.full_like(tensors["b_enc"], one)
    if "threshold" in tensors:
        thresholds(file, tensors["threshold"])
    return tensors


def _one_threshold(file: SafeTensors) -> float:
    """BatchTopK's, as its training has it: of rescaled activations, if it rescales."""
    file.check(_ONE_THRESHOLD, ())
    one = file.whole(_ONE_THRESHOLD).item()
    if one <= 0:
        raise FormatError(
            f"{file.path}: {_ONE_THRESHOLD} is {one}: this checkpoint was saved before its "
            "training set one, and without it every positive pre-activation would be a feature"
        )
    return one


def write(dictionary: Dictionary, folder: Path, dtype: torch.dtype | None = None) -> None:
    """Write cfg.json and sae_weights.safetensors; `dtype` is that of the matrices.

    Biases and thresholds stay float32. Raises `FormatError` for what SAELens has no name for.
    """
    config = dictionary.config
    metadata: dict[str, Any] = {
        **dict(config.metadata),
        "sae_lens_version": _VERSION,
        "model_name": config.model,
        "hook_name": to_transformer_lens(config.hookpoint),
    }
    cfg: dict[str, Any] = {
        "architecture": _written_name(dictionary),
        "d_in": config.d_in,
        "d_sae": config.width,
        "dtype": "float32",
        "device": "cpu",
        "apply_b_dec_to_input": False,
        "normalize_activations": config.normalisation,
        "reshape_activations": "none",
    }
    if isinstance(dictionary, TopK):
        cfg.update(k=dictionary.k, rescale_acts_by_decoder_norm=False)
    if isinstance(dictionary, MatchingPursuit):
        cfg.update(saelens_pursuit.written(dictionary))
    if isinstance(dictionary, Temporal):
        cfg.update(saelens_temporal.written(dictionary))
    if isinstance(dictionary, BatchTopK):
        details: dict[str, Any] = {}
        if "batchtopk" in str(metadata.get("training_architecture")):
            details = metadata.get("training_architecture_details", {})
        else:
            metadata["training_architecture"] = "batchtopk"
        metadata["training_architecture_details"] = {**details, "k": dictionary.k}
    if dictionary.is_transcoder:
        cfg["d_out"] = config.d_out
        metadata["hook_name_out"] = to_transformer_lens(config.hookpoint_out)
    if (config.hookpoint or "").startswith("attn_z"):
        cfg["reshape_activations"] = "hook_z"
    folder.mkdir(parents=True, exist_ok=True)
    save_tensors(_written_tensors(dictionary, dtype or torch.float32), folder / WEIGHTS)
    text = json.dumps({**cfg, "metadata": metadata}, indent=1)
    write_whole(folder / CONFIG, text + "\n")


def _written_name(dictionary: Dictionary) -> str:
    if dictionary.config.partial or dictionary.later is not None:
        raise FormatError(f"SAELens has no cross-layer transcoder: {dictionary!r} can't be written")
    if dictionary.W_skip is not None and not dictionary.is_transcoder:
        raise FormatError(
            f"SAELens has no autoencoder with a linear part: {dictionary!r} can't be written"
        )
    name = "jumprelu" if isinstance(dictionary, BatchTopK) else dictionary.architecture
    if not dictionary.is_transcoder and name in TENSORS:
        return name
    prefix = {"standard": "", "jumprelu": "jumprelu_"}.get(name)
    if prefix is None or not dictionary.is_transcoder:
        kind = f"{name} transcoder" if dictionary.is_transcoder else f"architecture {name}"
        raise FormatError(f"SAELens has no {kind}, so {dictionary!r} can't be written")
    return f"{prefix}{'' if dictionary.W_skip is None else 'skip_'}transcoder"


def _written_tensors(dictionary: Dictionary, dtype: torch.dtype) -> dict[str, Tensor]:
    names = dictionary.tensor_names()
    if isinstance(dictionary, MatchingPursuit):
        names = saelens_pursuit.TENSORS
    tensors = {name: getattr(dictionary, name).float() for name in names}
    if isinstance(dictionary, Temporal):
        tensors = saelens_temporal.written_tensors(dictionary)
    if isinstance(dictionary, Gated):  # its layout has no b_enc: both paths take it up
        shift = tensors.pop("b_enc")
        tensors["b_gate"] = tensors["b_gate"] + shift
        tensors["b_mag"] = tensors["b_mag"] + tensors["r_mag"].exp() * shift
    if dictionary.W_skip is not None:
        tensors["W_skip"] = dictionary.W_skip.T
    return {
        name: tensor.to(dtype if tensor.dim() == 2 else torch.float32)
        for name, tensor in tensors.items()
    }
