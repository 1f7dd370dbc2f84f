"""How many bytes of tensors a piece of work holds at its peak: measured, never guessed."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class Meter(TorchDispatchMode):
    """Counts the storages that are created while it is entered, until they are freed.

    The counterpart of `torch.cuda.max_memory_allocated` for devices that do not count. `live` and
    `peak` are bytes; tensors from before do not count.
    """

    def __init__(self) -> None:
        super().__init__()
        self.live = self.peak = 0
        self._seen: dict[int, weakref.ref[Any]] = {}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        before = {storage._cdata for storage in _storages((args, kwargs))}
        out = _linear(*args) if func is _LINEAR else func(*args, **(kwargs or {}))
        for storage in _storages(out):
            if storage._cdata not in before and id(storage) not in self._seen:
                self._add(storage)
        return out

    def _add(self, storage: torch.UntypedStorage) -> None:
        key, size = id(storage), storage.nbytes()
        self.live += size
        self.peak = max(self.peak, self.live)

        def freed(_: Any) -> None:
            self._seen.pop(key, None)
            self.live -= size

        self._seen[key] = weakref.ref(storage, freed)


_LINEAR = torch.ops.aten.linear.default


def _linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """What torch itself does outside a dispatch mode; inside, a slice of x would be multiplied
    row by row, thirteen times slower for the unembedding."""
    return _LINEAR(x.reshape(-1, x.shape[-1]), weight, bias).view(*x.shape[:-1], weight.shape[0])


def _storages(tree: Any) -> list[torch.UntypedStorage]:
    return [leaf.untyped_storage() for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]


@dataclass
class Peak:
    """What `measured` found, once its block has ended: bytes at the peak, and still held."""

    bytes: int = 0
    held: int = 0


@contextmanager
def measured(device: torch.device) -> Iterator[Peak]:
    """Peak bytes of the tensors that the block creates on the device."""
    peak = Peak()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        yield peak
        peak.bytes = torch.cuda.max_memory_allocated(device) - before
        peak.held = torch.cuda.memory_allocated(device) - before
        return
    with Meter() as meter:
        yield peak
    peak.bytes, peak.held = meter.peak, meter.live


@dataclass
class Ration:
    """How many rows the next batch may have, learnt from the batches so far.

    What a batch holds at its peak is the largest of several sums (one a stage of the pass), each
    of the form fixed + rows · row. So the peak of n′ > n rows is at most n′/n times that of n: the
    next batch is never too large, and each larger one is a closer guess. It starts with one row.
    """

    budget: int
    _rows: int = field(default=0, init=False)
    _peak: int = field(default=0, init=False)

    @property
    def rows(self) -> int:
        """For a batch of no more tokens than those before; at least 1."""
        if not self._rows:
            return 1
        fitting = int(self._rows * self.budget / max(self._peak, 1))
        return max(1, min(fitting, _GROWTH * self._rows))

    def took(self, rows: int, peak: int) -> None:
        """Tell what a batch took."""
        self._rows, self._peak = rows, peak


_GROWTH = 16
"""One row says little about many: what is fixed is most of it."""
