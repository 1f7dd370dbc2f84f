"""Whether the stream is all that goes from block to block, and whether blocks alone read it.

A pass resumes above blocks that do not run, with their stream in their place. That is the whole
pass only if they hand nothing else on: no keys and values, no state of a router. And the stream
into a block is written in place: an edit of that block alone, if nothing else reads it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from steer.lm.anatomy.calls import TOKENS, argument, run
from steer.lm.anatomy.values import BlockAnatomy, Skip

_TOLERANCES = {torch.float64: 1e-9, torch.float32: 1e-5}
_HALF = 1e-2
_FAULTS = (RuntimeError, TypeError, ValueError, AttributeError, IndexError, KeyError)


def resumes(
    module: nn.Module,
    blocks: Sequence[nn.Module],
    anatomies: Sequence[BlockAnatomy],
    streams: Mapping[int, Tensor],
) -> bool:
    """Whether the last half of the blocks, and the last of them, run as well without those below.

    streams: what each block gave, [1, s, d], in a pass over the tokens.
    """
    if len(streams) < len(blocks) or not all(block.sites for block in anatomies):
        return False
    whole = run(module, TOKENS)
    for above in {len(blocks) // 2, len(blocks) - 1} - {0}:
        with ExitStack() as skipped:
            for block, anatomy in zip(blocks[:above], anatomies, strict=False):
                given = Skip("", anatomy.container, anatomy.values).output(streams[above - 1])
                skipped.enter_context(_giving(block, given))
            try:
                part = run(module, TOKENS)
            except _FAULTS:
                return False
        if not _same(part, whole):
            return False
    return True


def without_shared_inputs(
    module: nn.Module, blocks: Sequence[nn.Module], anatomies: Sequence[BlockAnatomy]
) -> list[BlockAnatomy]:
    """The blocks, without `resid_pre` where something besides the block reads that tensor."""
    number_of = {n: block for n, block in enumerate(blocks) if "resid_pre" in anatomies[n].sites}
    if _in_place_is_alone(module, list(number_of.values())):
        return list(anatomies)
    why = "what the block reads is read elsewhere too, so an edit of it is none of the block alone"
    checked = list(anatomies)
    for number, block in number_of.items():
        if not _in_place_is_alone(module, [block]):
            sites = {k: place for k, place in anatomies[number].sites.items() if k != "resid_pre"}
            refused = {**anatomies[number].refused, "resid_pre": why}
            checked[number] = replace(anatomies[number], sites=sites, refused=refused)
    return checked


def _in_place_is_alone(module: nn.Module, blocks: Sequence[nn.Module]) -> bool:
    """Whether writing into what blocks read changes the logits as giving each a copy does."""
    logits = []
    for hook in (_write_in_place, _write_a_copy):
        with ExitStack() as hooks:
            for block in blocks:
                hooks.callback(block.register_forward_pre_hook(hook, with_kwargs=True).remove)
            logits.append(run(module, TOKENS))
    return _same(*logits)


def _write_in_place(_: nn.Module, args: Any, kwargs: Any) -> None:
    x = argument(args, kwargs)
    if x is not None:
        x += _written(x)


def _write_a_copy(_: nn.Module, args: Any, kwargs: Any) -> Any:
    x = argument(args, kwargs)
    if x is None:
        return None
    if args:
        return (x + _written(x), *args[1:]), kwargs
    name = next(iter(kwargs))
    return args, {**kwargs, name: x + _written(x)}


def _written(x: Tensor) -> Tensor:
    """Half of each token's norm along one random direction."""
    generator = torch.Generator().manual_seed(0)
    vector = torch.randn(x.shape[-1], generator=generator).to(x)
    return 0.5 * x.norm(dim=-1, keepdim=True) * vector / vector.norm()


@contextmanager
def _giving(block: nn.Module, output: Any) -> Iterator[None]:
    """While entered, the block does not run and gives this."""
    own: Callable[..., Any] | None = block.__dict__.get("forward")
    block.forward = lambda *_, **__: output
    try:
        yield
    finally:
        if own is None:
            del block.forward
        else:
            block.forward = own


def _same(one: Tensor, other: Tensor) -> bool:
    limit = _TOLERANCES.get(one.dtype, _HALF) * other.abs().max().item()
    return (one - other).abs().max().item() <= limit
