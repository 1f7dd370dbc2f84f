"""How one format names and orients its tensors, and what they become.

A layout says for each canonical tensor what it is called in the file and which of its axes counts
features: `nn.Linear` stores a decoder as [d_out, width], most others as [width, d_out]. Shapes are
checked against each other before anything is read, so a transposed file ends in an error.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from dictionaries.config import DictionaryConfig
from dictionaries.errors import FormatError, NotSeparableError, TransposedError
from dictionaries.files.tensors import Tensors

_OURS = {"W_enc": 1, "W_dec": 0}
"""Our own feature axes; vectors have only one."""


@dataclass(frozen=True)
class Stored:
    """A tensor in a file. axis: which one counts features; None: none does (b_dec, W_skip)."""

    name: str
    axis: int | None = 0
    transposed: bool = False
    """Of a W_skip: stored as [d_out, d_in]."""


Layout = dict[str, Stored]
Canonical = dict[str, Any]
"""Canonical tensors by the names of `Dictionary`'s fields."""

NAMED: Layout = {  # W_enc [d, m], W_dec [m, d_out]
    "W_enc": Stored("W_enc", 1),
    "b_enc": Stored("b_enc"),
    "W_dec": Stored("W_dec"),
    "b_dec": Stored("b_dec", None),
}
LINEAR: Layout = {  # two nn.Linear: encoder.weight [m, d], decoder.weight [d_out, m]
    "W_enc": Stored("encoder.weight"),
    "b_enc": Stored("encoder.bias"),
    "W_dec": Stored("decoder.weight", 1),
    "b_dec": Stored("decoder.bias", None),
}


def take(
    file: Tensors,
    layout: Layout,
    *,
    d_in: int | None = None,
    d_out: int | None = None,
    width: int | None = None,
) -> Canonical:
    """The canonical tensors of a file, W_enc [d_in, m], W_dec [m, d_out], vectors [m], float32.

    Sizes that a config states are checked; others are W_enc's and W_dec's. A missing b_enc is 0.
    """
    width = width or _width(file, layout)
    d_in = d_in or _size(file, layout["W_enc"], features=False)
    d_out = d_out or _d_out(file, layout, width)
    other = {"W_enc": d_in, "W_dec": d_out}
    tensors: Canonical = {}
    for ours, stored in layout.items():
        if stored.axis is None:
            shape = (d_out, d_in) if stored.transposed else (d_in, d_out)
            file.check(stored.name, shape if ours == "W_skip" else (d_out,))
            tensors[ours] = file.whole(stored.name)
        else:
            sizes = [other[ours]] if ours in other else []
            sizes.insert(stored.axis, width)
            file.check(stored.name, tuple(sizes))
            tensors[ours] = file.along(stored.name, stored.axis)
        if stored.transposed or _OURS.get(ours, stored.axis) != stored.axis:
            tensors[ours] = tensors[ours].T.contiguous()
    tensors.setdefault("b_enc", torch.zeros(len(tensors["W_dec"])))
    return tensors


def config_of(tensors: Canonical, **about: Any) -> DictionaryConfig:
    """The config of canonical tensors; `about` is the rest of its fields."""
    d_in, width = tensors["W_enc"].shape
    return DictionaryConfig(d_in=d_in, width=width, **about)


def thresholds(file: Tensors, values: Tensor) -> Tensor:
    """The same [m], unless all are negative: then the file holds something else."""
    if bool((values < 0).all()):
        raise FormatError(
            f"{file.path}: every threshold is negative; expected activations, not their "
            "logarithms or the -1 of a dictionary that was never calibrated"
        )
    return values


def refuse_features(file_or_folder: object, features: Sequence[int] | None) -> None:
    """Raise `NotSeparableError` if only some features of a ranking architecture are wanted."""
    if features is not None:
        raise NotSeparableError(
            f"{file_or_folder} ranks all pre-activations: load it without `features`"
        )


def _width(file: Tensors, layout: Layout) -> int:
    """W_enc's, where its bias has as many."""
    stored, bias = layout["W_enc"], layout.get("b_enc")
    width, other = (_size(file, stored, features=features) for features in (True, False))
    if bias is not None and file.shapes[bias.name] == (other,) != (width,):
        raise TransposedError(
            f"{file.path}: {stored.name} has shape {list(file.shapes[stored.name])} and {bias.name}"
            f" {[other]}: it is transposed; write it the other way round"
        )
    return width


def _d_out(file: Tensors, layout: Layout, width: int) -> int:
    """W_dec's, where it has as many features."""
    stored = layout["W_dec"]
    d_out, count = (_size(file, stored, features=features) for features in (False, True))
    if d_out == width != count:
        raise TransposedError(
            f"{file.path}: {stored.name} has shape {list(file.shapes[stored.name])}, and there are "
            f"{width} features: it is transposed; write it the other way round"
        )
    return d_out


def _size(file: Tensors, stored: Stored, *, features: bool) -> int:
    shape = file.shapes[stored.name]
    if len(shape) != 2 or stored.axis is None:
        raise FormatError(f"{file.path}: {stored.name} has shape {list(shape)}, expected a matrix")
    return shape[stored.axis if features else 1 - stored.axis]
