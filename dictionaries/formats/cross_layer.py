"""Cross-layer transcoders: features that read one block and write all from it on.

Each file (or pair) is a block. Its features are one dictionary: it reads its block, and what it
writes there and at every later block are rows of the same features. What a site gets is the sum
over all blocks up to it and its own bias (and linear part, of the raw input), so only the first
block's dictionary reconstructs a site; the others are partial.

circuit-tracer::

    W_enc_{l}.safetensors   W_enc_{l} [m, d]  b_enc_{l} [m]  b_dec_{l} [d]  threshold_{l} [m] or []
    W_dec_{l}.safetensors   W_dec_{l} [m, blocks from l on, d]

Gemma Scope 2, whose decoders have a place for earlier blocks too, which is not used::

    params_layer_{l}.safetensors  w_enc [d, m]  w_dec [m, blocks, d]  b_enc, threshold [m]
                                  b_dec [d]  affine_skip_connection [d, d] (x @ it)

Source: circuit-tracer 0.5.0, `transcoder/cross_layer_transcoder.py`. (sae-lens 6.54.12 loads a
block as a transcoder of its own block whose rows are the sums over all that it writes.)
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dictionaries.architectures import JumpReLU, ReLU
from dictionaries.config import DictionaryConfig
from dictionaries.dictionary import Dictionary
from dictionaries.errors import FormatError
from dictionaries.files.numbered import blocks_in, number_of
from dictionaries.files.tensors import SafeTensors, read_json, read_yaml
from dictionaries.formats import circuit_tracer, gemma_scope
from dictionaries.formats.layout import thresholds
from dictionaries.later import Later
from dictionaries.sites import from_named_module

LOOKS_LIKE = (
    "a W_enc_*.safetensors with its W_dec_* (circuit-tracer's cross-layer transcoders); a "
    "params_layer_*.safetensors (Gemma Scope 2's)"
)
_PAIR, _SINGLE = "W_enc_", "params_layer_"
_HOOKS = ("feature_input_hook", "feature_output_hook")
_MODULES = ("hf_hook_point_in", "hf_hook_point_out")
_SCOPE = {
    _MODULES[0]: "model.layers.{all}.pre_feedforward_layernorm.output",
    _MODULES[1]: "model.layers.{all}.post_feedforward_layernorm.output",
}
_SKIP = "affine_skip_connection"


def matches(path: Path) -> bool:
    """Whether it is a block's file."""
    return path.is_file() and any(number_of(path, p) is not None for p in (_PAIR, _SINGLE))


def read(path: Path, *, features: Sequence[int] | None = None) -> Dictionary:
    """Load a block. Raises `FormatError` for damaged files, or a crosscoder's."""
    layer = number_of(path, _PAIR)
    if layer is not None:
        return _read_pair(path, layer, features)
    layer = number_of(path, _SINGLE)
    if layer is None:
        raise FormatError(f"{path} is no {LOOKS_LIKE}")
    return _read_single(path, layer, features)


def _read_pair(path: Path, layer: int, features: Sequence[int] | None) -> Dictionary:
    beside = path.with_name(f"W_dec_{layer}.safetensors")
    if not beside.is_file():
        raise FormatError(f"{path} has no {beside.name} beside it")
    inner, outer = SafeTensors(path, features), SafeTensors(beside, features)
    names = [f"{name}_{layer}" for name in ("W_enc", "b_enc", "b_dec")]
    threshold, rows = f"threshold_{layer}", f"W_dec_{layer}"
    inner.expect(names, optional=(threshold,))
    outer.expect([rows])
    m, sites, d = _three(outer, rows)
    for name, expected in zip(names, ((m, d), (m,), (d,)), strict=True):
        inner.check(name, expected)
    tensors = {
        "W_enc": inner.along(names[0]).T.contiguous(),
        "b_enc": inner.along(names[1]),
        "b_dec": inner.whole(names[2]),
    }
    if threshold in inner.shapes:
        tensors["threshold"] = _thresholds(inner, threshold, tensors["b_enc"])
    said = _yaml(path.with_name("config.yaml"))
    model = said.get("model_name")
    blocks = range(layer, layer + sites)
    reads, writes = (
        [circuit_tracer.site_of_hook(said.get(hook), block, model) for block in blocks]
        for hook in _HOOKS
    )
    return _build(path, layer, tensors, outer.along(rows), reads[0], writes, model)


def _read_single(path: Path, layer: int, features: Sequence[int] | None) -> Dictionary:
    file = SafeTensors(path, features)
    file.expect(("w_enc", "b_enc", "w_dec", "b_dec", "threshold"), optional=(_SKIP,))
    m, sites, d = _three(file, "w_dec")
    if layer >= sites:
        raise FormatError(f"{path} is of block {layer}, and its w_dec of {sites} blocks")
    vectors = {"b_enc": (m,), "b_dec": (d,), "threshold": (m,), _SKIP: (d, d)}
    for name, expected in {"w_enc": (d, m), **vectors}.items():
        if name in file.shapes:
            file.check(name, expected)
    tensors = {
        "W_enc": file.along("w_enc", 1),
        "b_enc": file.along("b_enc"),
        "b_dec": file.whole("b_dec"),
        "threshold": thresholds(file, file.along("threshold")),
    }
    if _SKIP in file.shapes:
        tensors["W_skip"] = file.whole(_SKIP)
    said = _json(path.with_name("config.json"), _SKIP in file.shapes)
    named = [[_module(said[hook], at) for at in range(layer, sites)] for hook in _MODULES]
    rows = file.along("w_dec")[:, layer:]
    return _build(path, layer, tensors, rows, named[0][0], named[1], said.get("model_name"))


def _build(
    path: Path,
    layer: int,
    tensors: dict[str, Tensor],
    rows: Tensor,
    reads: str | None,
    writes: Sequence[str | None],
    model: str | None,
) -> Dictionary:
    """rows [m, blocks from its own on, d]; writes: a hookpoint each, None where nobody says."""
    cls: type[Dictionary] = JumpReLU if "threshold" in tensors else ReLU
    d, m = tensors["W_enc"].shape
    config = DictionaryConfig(
        d_in=d,
        width=m,
        d_out=d,
        hookpoint=reads,
        hookpoint_out=writes[0],
        model=model,
        partial=layer > 0,
    )
    after = tuple(site or f"block.{layer + 1 + step}" for step, site in enumerate(writes[1:]))
    about: dict[str, Any] = {
        **tensors,
        "W_dec": rows[:, 0].contiguous(),
        "later": Later(after, rows[:, 1:]) if after else None,
    }
    return cls(**about, config=config, name=f"{path.parent.name}#{layer}")


def _three(file: SafeTensors, rows: str) -> tuple[int, int, int]:
    shape = file.shapes[rows]
    if len(shape) != 3 or 0 in shape:
        raise FormatError(f"{file.path}: {rows} has shape {list(shape)}, expected three sizes")
    return shape[0], shape[1], shape[2]


def _thresholds(file: SafeTensors, name: str, like: Tensor) -> Tensor:
    if file.shapes[name]:
        file.check(name, file.shapes[name.replace("threshold", "b_enc")])
        return thresholds(file, file.along(name))
    return thresholds(file, torch.full_like(like, file.whole(name).item()))


def _yaml(path: Path) -> dict[str, Any]:
    said = read_yaml(path) if path.is_file() else {}
    circuit_tracer.KEYS.check(said, path)
    return _names(path, said, ("model_name", *_HOOKS))


def _json(path: Path, skips: bool) -> dict[str, Any]:
    """What config.json says; the release's sites are all the same."""
    said = read_json(path) if path.is_file() else {}
    gemma_scope.KEYS.check(said, path)
    gemma_scope.check_skip(said, path, skips)
    _refuse_others(said, path)
    return _names(path, {**_SCOPE, **said}, ("model_name", *_MODULES))


def refuse_crosscoder(folder: Path) -> None:
    """Raise `FormatError` for a folder of a crosscoder's files, none of which is a dictionary."""
    config = folder / "config.json"
    if any(number_of(path, _SINGLE) is not None for path in blocks_in(folder).values()):
        _refuse_others(read_json(config) if config.is_file() else {}, config)


def _refuse_others(said: dict[str, Any], path: Path) -> None:
    named = "crosscoder" if "crosscoder" in path.absolute().parts else "clt"
    if (kind := said.get("type", named)) != "clt":
        raise FormatError(
            f"{path.parent} holds a {kind}, which reads several sites at once; allowed: a clt, a "
            "cross-layer transcoder, whose features read one"
        )


def _names(path: Path, said: dict[str, Any], names: Sequence[str]) -> dict[str, Any]:
    for name in names:
        if not isinstance(said.get(name), str | None):
            raise FormatError(f"{path} says {name} = {said[name]!r}, expected a name")
    return said


def _module(named: str | None, layer: int) -> str | None:
    return from_named_module(None if named is None else named.replace("{all}", str(layer)))
