"""Keys and values of the rows of a running batch, which others join and leave.

transformers' own continuous batching packs the tokens of all requests into one row, draws them all
by one rule and has its own thread: there is no row that an edit could be of. So this is its
ordinary cache, with room to grow. Rows end at the same column; what is left of a shorter one is
padding, which the attention mask leaves out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from steer.errors import ModelError

_ROOM = 64
"""Columns that are free when a layer moves to a larger place."""


class RowsLayer(DynamicLayer):  # type: ignore[misc]  # transformers has no types here
    """A layer that is not copied for every token: keys and values are the used part of a buffer."""

    keys: Tensor
    values: Tensor

    def update(self, keys: Tensor, values: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Append [b, heads, s, d] of both, and give all."""
        if not self.is_initialized:
            self.lazy_initialization(keys, values)
            self.hold(keys[:, :, :0], values[:, :, :0])
        start, stop = self.keys.shape[2], self.keys.shape[2] + keys.shape[2]
        if stop > self.buffers[0].shape[2]:
            self.hold(self.keys, self.values, keys.shape[2])
        for buffer, new in zip(self.buffers, (keys, values), strict=True):
            buffer[:, :, start:stop] = new
        self.keys, self.values = (buffer[:, :, :stop] for buffer in self.buffers)
        return self.keys, self.values

    def hold(self, keys: Tensor, values: Tensor, more: int = 0) -> None:
        """Be these, in a place of one's own, with room for more columns."""
        used = keys.shape[2]
        self.buffers = tuple(
            functional.pad(states, (0, 0, 0, more + _ROOM)) for states in (keys, values)
        )
        self.keys, self.values = (buffer[:, :, :used] for buffer in self.buffers)


class RowsCache(DynamicCache):  # type: ignore[misc]
    """Of every layer, sliding ones too: their masks say what is too far away."""

    def __init__(self) -> None:
        super().__init__()
        self.layer_class_to_replicate = RowsLayer

    @property
    def columns(self) -> int:
        """Tokens of the longest row."""
        return int(self.get_seq_length())


def check_cache(module: Any) -> None:
    """Raise `ModelError` for a model that remembers more of a text than keys and values."""
    from transformers.cache_utils import DynamicSlidingWindowLayer

    plain = (DynamicLayer, DynamicSlidingWindowLayer)
    layers = DynamicCache(config=module.config).layers
    if module._is_stateful or any(type(layer) not in plain for layer in layers):
        raise ModelError(
            f"{type(module).__name__} remembers a text otherwise than by keys and values, so its "
            "rows can't join and leave a running batch; use Model.generate"
        )


def joined(caches: Sequence[RowsCache]) -> RowsCache:
    """All their rows, in this order, padded on the left."""
    columns, whole = max(cache.columns for cache in caches), RowsCache()
    for layers in zip(*(cache.layers for cache in caches), strict=True):
        layer = RowsLayer()
        layer.lazy_initialization(layers[0].keys, layers[0].values)
        layer.hold(
            torch.cat([_padded(cached.keys, columns) for cached in layers]),
            torch.cat([_padded(cached.values, columns) for cached in layers]),
        )
        whole.layers.append(layer)
    return whole


def keep(cache: RowsCache, rows: Sequence[int], columns: int) -> None:
    """Let go of all rows but these, and of all columns but so many last ones."""
    for layer in cache.layers:
        keys, values = (states[list(rows), :, -columns:] for states in (layer.keys, layer.values))
        layer.hold(keys, values)


def _padded(values: Tensor, columns: int) -> Tensor:
    """[b, heads, s, d] with zeros before it."""
    return functional.pad(values, (0, 0, columns - values.shape[2], 0))
