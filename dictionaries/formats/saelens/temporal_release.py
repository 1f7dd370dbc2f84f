"""Temporal dictionaries as their authors released them: `conf.yaml`, `latest_ckpt.safetensors`.

    D [m, d]   b [d]   E [d, m] unless tied   attn_layers.* as SAELens has them

Inputs are multiplied by `sae.scaling_factor`, the bias is subtracted, the site is the output of the
block that the folder's path names. Source: sae_lens 6.54.12,
`loading/pretrained_sae_loaders.py`, `temporal_sae_huggingface_loader`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dictionaries.architectures.temporal import Temporal
from dictionaries.config import DictionaryConfig
from dictionaries.errors import FormatError
from dictionaries.files.keys import Keys
from dictionaries.files.tensors import SafeTensors, read_yaml, whole_number
from dictionaries.formats.layout import refuse_features
from dictionaries.formats.saelens import temporal as saelens_temporal

CONFIG, WEIGHTS = "conf.yaml", "latest_ckpt.safetensors"
LOOKS_LIKE = f"{WEIGHTS} with {CONFIG} (temporal)"
_NAMES = {"W_dec": "D", "b_dec": "b", "W_enc": "E"}
_KEYS = Keys(
    used=("llm",),  # the model's facts, of which its width is read
    harmless=("data", "optimizer", "log", "train", "eval", "hydra", "wandb", "seed", "deploy",
              "device", "device_id", "tag", "name", "run_name", "save_path"),
    inside={
        "sae": Keys(
            ("exp_factor", "scaling_factor", "n_heads", "n_attn_layers", "bottleneck_factor",
             "sae_diff_type", "kval_topk", "tied_weights"),
            harmless=("gamma_reg", "min_act_regularizer_batchtopk", "mp_kval", "lambda_init"),
            only={
                "sae_type": ("temporal",),
                "use_pos_encoding": (False,),
                "inference_mode_batchtopk": (False,),  # of batchtopk, which is refused
            },
        ),
    },
)  # fmt: skip
"""Of conf.yaml: a whole run's, whose sections are taken for what they are called, but for the
dictionary's own. Source: the authors' code, its training script and `TemporalSAE`."""
_LAYER = re.compile(r"layer_(\d+)")


def matches(folder: Path) -> bool:
    """Whether the folder holds both files."""
    return (folder / WEIGHTS).is_file() and (folder / CONFIG).is_file()


def read(folder: Path, *, features: Sequence[int] | None = None) -> Temporal:
    """Load it. Raises `FormatError` for a damaged file, `NotSeparableError` for some features."""
    refuse_features(folder.name, features)
    path = folder / CONFIG
    said = read_yaml(path)
    _KEYS.check(said, path)
    sae, llm = said.get("sae"), said.get("llm")
    if not isinstance(sae, dict) or not isinstance(llm, dict):
        raise FormatError(f"{path} must hold sae and llm, each with its settings")
    d_in = whole_number(llm, "dimin", path)
    width = int(d_in * _positive(sae, "exp_factor", path))
    layers = [layer[1] for part in folder.absolute().parts if (layer := _LAYER.fullmatch(part))]
    return saelens_temporal.build(
        folder.name,
        path,
        SafeTensors(folder / WEIGHTS),
        _NAMES,
        DictionaryConfig(d_in, width, f"resid_post.{layers[-1]}" if layers else None),
        sae,
        subtracts=True,
        scale=_positive(sae, "scaling_factor", path),
    )


def _positive(said: dict[str, Any], name: str, path: Path) -> float:
    value = said.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e6:
        raise FormatError(f"{path} says {name} = {value!r}, expected a positive number")
    return float(value)
