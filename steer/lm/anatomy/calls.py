"""What every module of a block read and gave, in one pass over a few tokens."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from inspect import signature
from typing import Any

import torch
from torch import Tensor, nn

TOKENS = tuple(range(5, 17))
"""Ids that every vocabulary has; which ones does not matter."""


@dataclass(frozen=True, eq=False)
class Call:
    """A module that ran once: its path in the block ("" for the block), what it read and gave.

    reads, gives: the first tensor [b, s, d] of its arguments and of its output, as they were then;
        empty if that was none.
    began, ended: its place in the order of all beginnings and ends.
    matrix: whether it is one linear map.
    """

    path: str
    reads: Tensor
    gives: Tensor
    began: int
    ended: int
    matrix: bool = False


@dataclass(frozen=True, eq=False)
class BlockCalls:
    """One block's pass: itself, and the modules in it that ran once, in the order of their ends.

    container, values: what the block returned around the stream, see `Skip`.
    """

    block: Call
    inside: Sequence[Call]
    container: str
    values: int


@torch.inference_mode()
def run(module: nn.Module, tokens: Sequence[int]) -> Tensor:
    """Logits [1, s, V] of one forward pass over the tokens, without a cache."""
    device = device_of(module)
    config: Any = module.config
    size = getattr(config.get_text_config(), "vocab_size", None) or max(tokens) + 1
    ids = torch.tensor([[token % size for token in tokens]], device=device)
    options = {"use_cache": False} if "use_cache" in signature(module.forward).parameters else {}
    logits: Tensor = module(input_ids=ids, attention_mask=torch.ones_like(ids), **options).logits
    return logits


def device_of(module: nn.Module) -> torch.device:
    """Where a model reads its ids: with its first weight that is not offloaded, or on the CPU."""
    weights = (weight.device for weight in module.parameters())
    return next((place for place in weights if place.type != "meta"), torch.device("cpu"))


def first_tensor(value: Any) -> Tensor | None:
    """The value itself, or the first of a tuple or list, if it is a floating tensor."""
    if isinstance(value, tuple | list):
        value = value[0] if value else None
    return value if isinstance(value, Tensor) and value.is_floating_point() else None


def argument(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Tensor | None:
    """The first argument, by place or name, if it is a floating tensor."""
    return first_tensor(args[0] if args else next(iter(kwargs.values()), None))


@contextmanager
def watched(blocks: Sequence[nn.Module], done: Callable[[int, BlockCalls], None]) -> Iterator[None]:
    """While entered, `done` is called with each block's number and calls when it has run."""
    with ExitStack() as hooks:
        for number, block in enumerate(blocks):
            _watch(number, block, done, hooks)
        yield


def _watch(
    number: int, block: nn.Module, done: Callable[[int, BlockCalls], None], hooks: ExitStack
) -> None:
    clock, began, calls = [0], dict[str, tuple[int, Tensor]](), list[Call]()
    times: dict[str, int] = {}

    def tick() -> int:
        clock[0] += 1
        return clock[0]

    def begins(path: str) -> Callable[..., None]:
        def hook(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            x = argument(args, kwargs)
            began[path] = tick(), torch.empty(0) if x is None else x.clone()
            times[path] = times.get(path, 0) + 1

        return hook

    def ends(path: str, matrix: bool) -> Callable[..., None]:
        def hook(_: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
            y, (start, x) = first_tensor(output), began[path]
            given = torch.empty(0) if y is None else y.clone()
            call = Call(path, x, given, start, tick(), matrix)
            if path:
                calls.append(call)
                return
            once = [call for call in calls if times[call.path] == 1]
            container = type(output).__name__ if isinstance(output, tuple | list) else "tensor"
            values = 1 if container == "tensor" else len(output)
            done(number, BlockCalls(call, once, container, values))
            calls.clear()
            times.clear()

        return hook

    for path, module in block.named_modules():
        for handle in (
            module.register_forward_pre_hook(begins(path), with_kwargs=True),
            module.register_forward_hook(ends(path, _is_map(module)), with_kwargs=True),
        ):
            hooks.callback(handle.remove)


def _is_map(module: nn.Module) -> bool:
    """One linear map: it says how many features it reads, or its one matrix is its weight."""
    if hasattr(module, "in_features"):
        return True
    own = dict(module.named_parameters(recurse=False))
    matrices = [name for name, weight in own.items() if weight.dim() > 1]
    return matrices == ["weight"] and own["weight"].dim() == 2
