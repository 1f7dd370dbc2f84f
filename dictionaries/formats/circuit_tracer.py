"""circuit-tracer's per-layer transcoders: `layer_{i}.safetensors`, with a `config.yaml` beside.

ReLU, or JumpReLU if there is a threshold; the linear part is of the raw input. No bias is
subtracted. Source: safety-research/circuit-tracer, `transcoder/single_layer_transcoder.py`.

    W_enc [m, d]  W_dec [m, d]  b_enc [m]  b_dec [d]  W_skip [d, d] (x @ W_skip.T)
    activation_function.threshold [] or [m]
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from dictionaries.architectures import JumpReLU, ReLU
from dictionaries.dictionary import Dictionary
from dictionaries.errors import FormatError
from dictionaries.files.keys import Keys
from dictionaries.files.numbered import number_of
from dictionaries.files.tensors import SafeTensors, read_yaml
from dictionaries.formats.layout import NAMED, Stored, config_of, take
from dictionaries.sites import from_module, from_transformer_lens

CONFIG = "config.yaml"
KEYS = Keys(
    used=("model_name", "feature_input_hook", "feature_output_hook"),
    harmless=("model_kind", "scan", "transcoders", "repo_id", "revision", "subfolder"),
)
"""Of config.yaml: circuit-tracer 0.5.0's `utils/hf_utils.py`, and its first release's."""
LOOKS_LIKE = "a layer_*.safetensors with W_enc and W_dec (circuit-tracer)"

_LAYOUT = {**NAMED, "W_enc": Stored("W_enc")}
_THRESHOLD, _SKIP = "activation_function.threshold", "W_skip"


def matches(path: Path) -> bool:
    """Whether it is such a file."""
    return path.is_file() and number_of(path, "layer_") is not None


def read(path: Path, *, features: Sequence[int] | None = None) -> Dictionary:
    """Load one layer. Raises `FormatError` for a damaged file."""
    file = SafeTensors(path, features)
    file.expect(NAMED, optional=(_THRESHOLD, _SKIP))
    layout = dict(_LAYOUT)
    if _SKIP in file.shapes:
        layout["W_skip"] = Stored(_SKIP, None, transposed=True)
    if file.shapes.get(_THRESHOLD):
        layout["threshold"] = Stored(_THRESHOLD)
    tensors = take(file, layout)
    if _THRESHOLD in file.shapes and "threshold" not in tensors:
        tensors["threshold"] = torch.full_like(tensors["b_enc"], file.whole(_THRESHOLD).item())
    config = config_of(tensors, d_out=tensors["W_dec"].shape[1], **_sites(path))
    if "threshold" not in tensors:
        return ReLU(**tensors, config=config, name=path.stem)
    if bool((tensors["threshold"] < 0).any()):  # there is no ReLU under circuit-tracer's threshold
        raise FormatError(f"{path} has negative thresholds, which would let negatives through")
    return JumpReLU(**tensors, config=config, name=path.stem)


def _sites(path: Path) -> dict[str, Any]:
    """Out of config.yaml, whose hooks are the same at every layer."""
    config = path.with_name(CONFIG)
    layer = number_of(path, "layer_")
    if layer is None or not config.is_file():
        return {}
    said = read_yaml(config)
    KEYS.check(said, config)
    names = ("model_name", "feature_input_hook", "feature_output_hook")
    if not all(isinstance(said.get(n), str | None) for n in names):
        raise FormatError(f"{config} must hold names under {', '.join(names)}")
    model = said.get("model_name")
    reads, writes = (site_of_hook(said.get(name), layer, model) for name in names[1:])
    return {"model": model, "hookpoint": reads, "hookpoint_out": writes}


def site_of_hook(hook: str | None, layer: int, model: str | None) -> str | None:
    """The site of a hook of circuit-tracer's at a layer.

    `mlp.hook_out`, which is not TransformerLens's own, is the output of the MLP's module: where a
    model normalises that before it is added, it is not what the residual gets.
    """
    if hook == "mlp.hook_out":
        return from_module(f"model.layers.{layer}.mlp", "output", model)
    return hook and from_transformer_lens(f"blocks.{layer}.{hook}")
