"""Rows that are still the same are multiplied once.

Baseline and edited rows read one prompt, and up to the first edit they hold the same numbers. There
its MLPs and the projections of its attention need one row, whatever the number of edited ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from steer.hookpoints import Site, stack_path

_LINEAR = (nn.Linear, Conv1D)


@contextmanager
def same_rows(module: nn.Module, sites: Iterable[Site]) -> Iterator[None]:
    """While entered, what acts on each position alone is computed for one of equal rows.

    sites: that are read or written, and so must see all rows. Results differ by rounding: a product
    of fewer rows may add up in another order.
    """
    taken = [site.path for site in sites]
    parts = [part for path, part in _position_wise(module) if not _holds(path, taken)]
    handles = [handle for part in parts for handle in _share(part)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _position_wise(module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """MLPs of linear layers and activations, and linear layers elsewhere; with their paths."""
    stack = stack_path(module)
    done: tuple[str, ...] = ()
    for path, part in module.get_submodule(stack).named_modules(prefix=stack):
        if path.startswith(done):
            continue
        if isinstance(part, _LINEAR) or (path.endswith(".mlp") and _is_plain(part)):
            done = (*done, f"{path}.")
            yield path, part


def _is_plain(mlp: nn.Module) -> bool:
    """No experts, who would be chosen anew, and no adapters."""
    return all(
        isinstance(part, _LINEAR) or not list(part.parameters())
        for part in mlp.modules()
        if part is not mlp
    )


def _holds(path: str, taken: list[str]) -> bool:
    return any(f"{other}.".startswith(f"{path}.") for other in taken)


def _share(part: nn.Module) -> list[Any]:
    rows: list[int] = []  # of the call in progress, if they are the same

    def shrink(_: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...] | None:
        if not args or not _are_same(args[0]):
            return None
        rows.append(len(args[0]))
        return args[0][:1], *args[1:]

    def restore(_: nn.Module, args: tuple[Any, ...], output: Tensor) -> Tensor | None:
        return output.expand(rows.pop(), *output.shape[1:]) if rows else None

    return [part.register_forward_pre_hook(shrink), part.register_forward_hook(restore)]


def _are_same(x: Tensor) -> bool:
    if x.ndim != 3 or len(x) == 1 or x.shape[1] == 1:
        return False
    return all(torch.equal(x[0], row) for row in x[1:])
