"""How many bytes of tensors a piece of work holds at its peak: measured, never guessed."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
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
        out = func(*args, **(kwargs or {}))
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


@dataclass(frozen=True)
class Cost:
    """Peak bytes of a batch: fixed + rows · (row + tokens · token)."""

    fixed: float
    row: float
    token: float

    @classmethod
    def fit(cls, measure: Callable[[int, int], int], length: int) -> Cost:
        """From three measured batches; `measure(rows, tokens)` runs one and returns its peak."""
        one, two = measure(1, length), measure(3, length)
        per_row = max((two - one) / 2, 1.0)
        short = measure(3, 1) if length > 1 else two
        token = max((two - short) / (3 * max(length - 1, 1)), 0.0)
        return cls(max(one - per_row, 0.0), max(per_row - token * length, 0.0), token)

    def rows(self, budget: int, tokens: int) -> int:
        """How many rows of so many tokens fit into the budget; at least 1."""
        return max(1, int((budget - self.fixed) // max(self.row + self.token * tokens, 1)))
