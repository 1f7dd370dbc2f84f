"""Gemma Scope (`params.npz`) and Gemma Scope 2 (`params.safetensors`, `config.json`).

JumpReLU of the raw site: no decoder bias is subtracted and nothing is normalised. The first has
no config, so its site is known only from the release's own folder names, and stays unknown
elsewhere. Its transcoders read the residual divided by its RMS, before the norm's gain; those of
the second read after the gain, may have a linear part, and name their modules themselves.
Source: Lieberum et al. 2024; google/gemma-scope-2b-pt-res, google/gemma-scope-2-4b-it.

    W_enc [d, m]  W_dec [m, d_out]  b_enc, threshold [m]  b_dec [d_out]
    affine_skip_connection [d, d_out]
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dictionaries.architectures import JumpReLU
from dictionaries.dictionary import Dictionary
from dictionaries.errors import FormatError
from dictionaries.files.archives import Loaded, read_npz
from dictionaries.files.keys import Keys
from dictionaries.files.tensors import SafeTensors, Tensors, read_json
from dictionaries.formats.layout import NAMED, Stored, config_of, take, thresholds
from dictionaries.sites import Side, from_named_module

FIRST, SECOND, CONFIG = "params.npz", "params.safetensors", "config.json"
LOOKS_LIKE = f"{FIRST} (Gemma Scope); {SECOND} (Gemma Scope 2)"

KEYS = Keys(
    used=("model_name", "hf_hook_point_in", "hf_hook_point_out", "l0", "affine_connection", "type"),
    harmless=("width",),  # the tensors' own
    only={"architecture": ("jump_relu",)},
)
"""Of config.json, as google/gemma-scope-2-270m-pt has it."""
_LOWER = {ours: Stored(s.name.lower(), s.axis) for ours, s in NAMED.items()}
_SKIP = "affine_skip_connection"
_SITES = {"res": "resid_post", "att": "attn_z", "mlp": "mlp_out"}
_MODULES: dict[str, tuple[str, Side]] = {
    "resid_post": ("", "output"),
    "attn_out": (".self_attn.o_proj", "input"),
    "mlp_out": (".post_feedforward_layernorm", "output"),
    "transcoder": (".pre_feedforward_layernorm", "output"),
}


def matches(folder: Path) -> bool:
    """Whether the folder holds either's weights."""
    return (folder / FIRST).is_file() or (folder / SECOND).is_file()


def read(folder: Path, *, features: Sequence[int] | None = None) -> Dictionary:
    """Load either. Raises `FormatError` for a damaged file, or a cross-layer transcoder."""
    if (folder / FIRST).is_file():
        return _read_first(folder, features)
    return _read_second(folder, features)


def _read_first(folder: Path, features: Sequence[int] | None) -> Dictionary:
    arrays = {name.lower(): array for name, array in read_npz(folder / FIRST).items()}
    file = Loaded(folder / FIRST, arrays, features)
    file.expect([*(s.name for s in _LOWER.values()), "threshold"])
    return _build(file, _first_sites(folder, file.shapes["w_dec"][-1]))


def _first_sites(folder: Path, d_out: int) -> dict[str, Any]:
    """Site and model out of `gemma-scope-2b-pt-res/layer_20/...`, if that is where it lies."""
    path = folder.absolute().as_posix()
    release = re.search(r"gemma-scope-(\d+b)-(pt|it)-(res|att|mlp|transcoders)\b", path)
    layer = re.search(r"/layer_(\d+)/", path + "/")
    if not release or not layer:
        return {}
    model = f"google/gemma-2-{release[1]}{'-it' if release[2] == 'it' else ''}"
    if release[3] != "transcoders":
        return {"model": model, "hookpoint": f"{_SITES[release[3]]}.{layer[1]}"}
    return {
        "model": model,
        "hookpoint": f"blocks.{layer[1]}.ln2.hook_normalized",
        "hookpoint_out": f"mlp_out.{layer[1]}",
        "d_out": d_out,
    }


def _read_second(folder: Path, features: Sequence[int] | None) -> Dictionary:
    file = SafeTensors(folder / SECOND, features)
    file.expect([*(s.name for s in _LOWER.values()), "threshold"], optional=(_SKIP,))
    if len(file.shapes["w_dec"]) != 2:
        raise FormatError(
            f"{file.path} writes several sites: a cross-layer transcoder has a file for each "
            "block, such as params_layer_5.safetensors, and a crosscoder can't be used"
        )
    said = read_json(folder / CONFIG) if (folder / CONFIG).is_file() else _second_config(folder)
    KEYS.check(said, folder / CONFIG)
    check_skip(said, folder / CONFIG, _SKIP in file.shapes)
    if (kind := said.get("type", "sae")) not in ("sae", "transcoder"):
        raise FormatError(f"{folder} holds a {kind}; allowed: an sae or a transcoder")
    about: dict[str, Any] = {"model": _text(said, "model_name", folder)}
    if isinstance(said.get("l0"), int | float):
        about["metadata"] = (("l0", said["l0"]),)
    about["hookpoint"] = from_named_module(_text(said, "hf_hook_point_in", folder))
    writes = _text(said, "hf_hook_point_out", folder)
    if writes not in (None, said.get("hf_hook_point_in")):
        about |= {"hookpoint_out": from_named_module(writes), "d_out": file.shapes["w_dec"][-1]}
    elif _SKIP in file.shapes:
        raise FormatError(f"{folder / CONFIG} names no site for the {_SKIP} to write")
    return _build(file, about)


def check_skip(said: dict[str, Any], path: Path, skips: bool) -> None:
    """Raise `FormatError` if a config says of the linear part what the file does not hold."""
    if bool(said.get("affine_connection", skips)) != skips:
        raise FormatError(
            f"{path} says affine_connection = {said['affine_connection']}, and the file beside it "
            f"{'holds' if skips else 'lacks'} {_SKIP}"
        )


def _second_config(folder: Path) -> dict[str, Any]:
    """What config.json would say, from the release's folder names; some folders lack it."""
    path = folder.absolute().as_posix()
    layer = re.search(r"/layer_(\d+)_", path)
    kind = next((kind for kind in _MODULES if f"/{kind}" in path), None)
    if not layer or not kind:
        return {}
    block = f"model.layers.{layer[1]}"
    module, side = _MODULES[kind]
    said: dict[str, Any] = {"hf_hook_point_in": f"{block}{module}.{side}"}
    if kind == "transcoder":
        said["hf_hook_point_out"] = f"{block}.post_feedforward_layernorm.output"
    return said


def _text(said: dict[str, Any], name: str, folder: Path) -> str | None:
    if not isinstance(said.get(name), str | None):
        raise FormatError(f"{folder / CONFIG} says {name} = {said[name]!r}, expected a name")
    return said.get(name)


def _build(file: Tensors, about: dict[str, Any]) -> Dictionary:
    layout = {**_LOWER, "threshold": Stored("threshold")}
    if _SKIP in file.shapes:
        layout["W_skip"] = Stored(_SKIP, None)
    tensors = take(file, layout)
    thresholds(file, tensors["threshold"])
    name = file.path.parent.name
    return JumpReLU(**tensors, config=config_of(tensors, **about), name=name)
