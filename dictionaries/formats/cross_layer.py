"""circuit-tracer's cross-layer transcoders: features that read one block and write all from it on.

    W_enc_{l}.safetensors   W_enc_{l} [m, d]  b_enc_{l} [m]  b_dec_{l} [d]  threshold_{l} [m] or []
    W_dec_{l}.safetensors   W_dec_{l} [m, blocks from l on, d]

What a site gets is the sum over all earlier blocks, so a block's features are no dictionary of one
site: they are read as one transcoder for each site that they write. An edit made with each of them
moves each site by Δf · W_dec; none of them reconstructs its site alone, and decoding is refused.
Source: sae_lens 6.54.12, `mntss_clt_layer_huggingface_loader`, which sums the decoders.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dictionaries.architectures import JumpReLU, ReLU
from dictionaries.base import Dictionary, DictionaryConfig
from dictionaries.errors import FormatError
from dictionaries.formats.files import SafeTensors, read_yaml
from dictionaries.formats.layout import thresholds
from dictionaries.formats.sites import from_transformer_lens

CONFIG = "config.yaml"
_HOOKS = ("feature_input_hook", "feature_output_hook")


def read(
    folder: Path, layer: int, *, features: Sequence[int] | None = None
) -> tuple[Dictionary, ...]:
    """The features of a block, as a transcoder to each site that they write, in order.

    Each is named `folder:3->5`. Raises `FormatError` for damaged files, or no such block.
    """
    encoder, decoder = (folder / f"W_{kind}_{layer}.safetensors" for kind in ("enc", "dec"))
    if not encoder.is_file() or not decoder.is_file():
        raise FormatError(f"{folder} holds no {encoder.name} with {decoder.name}")
    inner, outer = SafeTensors(encoder, features), SafeTensors(decoder, features)
    names = [f"{name}_{layer}" for name in ("W_enc", "b_enc", "b_dec")]
    threshold, rows = f"threshold_{layer}", f"W_dec_{layer}"
    inner.expect(names, optional=(threshold, f"W_skip_{layer}"))
    outer.expect([rows])
    shape = outer.shapes[rows]
    if len(shape) != 3 or 0 in shape:
        raise FormatError(f"{decoder}: {rows} has shape {list(shape)}, expected three sizes")
    m, sites, d = shape
    for name, expected in zip(names, ((m, d), (m,), (d,)), strict=True):
        inner.check(name, expected)
    W_enc, b_enc = inner.along(names[0]).T.contiguous(), inner.along(names[1])
    about: dict[str, Any] = {"W_enc": W_enc, "b_enc": b_enc, "b_dec": torch.zeros(d)}
    cls: type[Dictionary] = ReLU
    if threshold in inner.shapes:
        cls, about["threshold"] = JumpReLU, _thresholds(inner, threshold, b_enc)
    said = _config(folder)
    config = DictionaryConfig(
        d_in=d,
        width=len(b_enc),
        d_out=d,
        hookpoint=_site(said, _HOOKS[0], layer),
        model=said.get("model_name"),
        partial=True,
    )
    written = outer.along(rows)
    return tuple(
        cls(
            **about,
            W_dec=written[:, step].contiguous(),
            config=replace(config, hookpoint_out=_site(said, _HOOKS[1], layer + step)),
            name=f"{folder.name}:{layer}->{layer + step}",
        )
        for step in range(sites)
    )


def _thresholds(file: SafeTensors, name: str, like: Tensor) -> Tensor:
    if file.shapes[name]:
        file.check(name, file.shapes[name.replace("threshold", "b_enc")])
        return thresholds(file, file.along(name))
    return thresholds(file, torch.full_like(like, file.whole(name).item()))


def _config(folder: Path) -> dict[str, Any]:
    path = folder / CONFIG
    said = read_yaml(path) if path.is_file() else {}
    for name in ("model_name", *_HOOKS):
        if not isinstance(said.get(name), str | None):
            raise FormatError(f"{path} says {name} = {said[name]!r}, expected a name")
    return said


def _site(said: dict[str, Any], hook: str, layer: int) -> str | None:
    named = said.get(hook)
    return None if named is None else from_transformer_lens(f"blocks.{layer}.{named}")
