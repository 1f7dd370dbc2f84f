"""Which tensors of a block are its sites: those that satisfy what their names say.

    resid_pre + attn_out = resid_mid        resid_mid + mlp_out = resid_post
    resid_pre + attn_out + mlp_out = resid_post, where attention and MLP are in parallel

mlp_in is what the MLP reads; attn_z and mlp_hidden are what the last linear map of attention and
MLP reads, if that map gives all that they give.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from steer.lm.anatomy.calls import TOKENS, BlockCalls, Call
from steer.lm.anatomy.values import BlockAnatomy, Place
from steer.lm.hookpoints import KINDS

_TOLERANCES = {torch.float64: 1e-6, torch.float32: 1e-3}
_HALF = 0.05
"""Relative to the update; half precision rounds the stream, which is larger than the update."""
_ATTENTION = re.compile(r"att", re.IGNORECASE)
_MLP = re.compile(r"mlp|feed_?forward|ffn|moe|experts", re.IGNORECASE)


@dataclass(frozen=True, eq=False)
class Block:
    """A block's pass, and the size of what it adds at each token, [b, s]."""

    calls: BlockCalls
    x: Tensor
    y: Tensor
    size: Tensor

    def gap(self, one: Tensor, other: Tensor) -> float:
        """How far two tensors are apart, as a share of the block's update, at the worst token.

        In half precision at the median token: a massive one is rounded by more than its update.
        """
        gaps = (one.double() - other.double()).norm(dim=-1) / self.size
        exact = self.x.dtype in _TOLERANCES
        return (gaps.max() if exact else gaps.median()).item()

    def same(self, one: Tensor, other: Tensor) -> bool:
        return one.shape == other.shape and self.gap(one, other) <= self.tolerance

    @property
    def tolerance(self) -> float:
        return _TOLERANCES.get(self.x.dtype, _HALF)

    def outputs(self) -> list[Call]:
        """Modules that gave a tensor of the stream's shape, outermost first."""
        like = [
            c for c in self.calls.inside if c.gives is not None and c.gives.shape == self.x.shape
        ]
        return sorted(like, key=lambda call: (call.path.count("."), call.ended))

    def inputs(self) -> list[Call]:
        """Modules that read a tensor of the stream's shape, in the order of the pass."""
        like = [
            c for c in self.calls.inside if c.reads is not None and c.reads.shape == self.x.shape
        ]
        return sorted(like, key=lambda call: (call.began, call.path.count(".")))


def find_sites(calls: BlockCalls) -> BlockAnatomy:
    """The sites of one block, and why it has no others."""
    x, y = calls.block.reads, calls.block.gives
    if x.shape != y.shape or x.dim() != 3 or x.shape[1] != len(TOKENS):
        why = f"the block gives {list(y.shape)} for {len(TOKENS)} tokens, which is no one stream"
        return BlockAnatomy({}, dict.fromkeys(KINDS, why), calls.container, calls.values)
    block = Block(calls, x, y, (y.double() - x.double()).norm(dim=-1).clamp(min=1e-12))
    d = x.shape[-1]
    sites = {"resid_pre": Place("", "input", d), "resid_post": Place("", "output", d)}
    refused: dict[str, str] = {}
    middle, attention, mlp = _sublayers(block, refused)
    if middle is not None:
        sites["resid_mid"] = Place(middle.path, "input", d)
    if attention is not None:
        sites["attn_out"] = Place(attention.path, "output", d)
    if mlp is not None and "mlp_out" not in refused:
        sites["mlp_out"] = Place(mlp.path, "output", d)
    for kind, add in (("attn_z", attention), ("mlp_hidden", mlp)):
        owner = _owner(block, add)
        last = _last_linear(block, owner, add) if owner and add else None
        if last is not None:
            sites[kind] = Place(last.path, "input", last.reads.shape[-1])
        else:
            refused[kind] = "no single linear map gives all that it adds"
    owner = _reader(block, mlp, middle)
    if owner is not None and (place := _read_by(block, owner, middle)) is not None:
        sites["mlp_in"] = place
    else:
        refused["mlp_in"] = "what the MLP reads was not found"
    return BlockAnatomy(sites, refused, calls.container, calls.values)


def _sublayers(
    block: Block, refused: dict[str, str]
) -> tuple[Call | None, Call | None, Call | None]:
    """What reads the stream between attention and MLP, and what gives what each of them adds."""
    outputs = block.outputs()
    for call in block.inputs():
        middle = call.reads
        if block.same(middle, block.x) or _after_the_mlp(block, call):
            continue
        after = [out for out in outputs if out.began >= call.began]
        if (mlp := _first(block, after, middle, block.y)) is None:
            mlp, scale = _scaled(block, after, middle)
            if mlp is None:
                continue
            refused["mlp_out"] = f"the stream is multiplied by {scale:.3g} after the MLP has added"
        before = [out for out in outputs if out.ended < call.began]
        attention = _first(block, before, block.x, middle)
        if attention is None:
            refused["attn_out"] = _nearest(block, before, block.x, middle)
        elif not _ATTENTION.search(_top(attention, block)):
            refused["attn_out"] = f"the first sublayer is {_top(attention, block)}, not attention"
            attention = None
        return call, attention, mlp
    pair = _parallel(block, outputs)
    refused["resid_mid"] = (
        "attention and MLP are in parallel" if pair else _nearest(block, outputs, block.x, block.y)
    )
    if pair is None:
        why = f"no two outputs add up to the block's update: {_nearest_pair(block, outputs)}"
        refused["attn_out"] = refused["mlp_out"] = why
        return None, None, None
    return None, *pair


def _after_the_mlp(block: Block, call: Call) -> bool:
    """Whether an MLP has run before what a module reads: then it is not between the two."""
    return any(
        _MLP.search(other.path) and _has_parts(block, other) and other.ended < call.began
        for other in block.calls.inside
        if "." not in other.path
    )


def _parallel(block: Block, outputs: Sequence[Call]) -> tuple[Call, Call] | None:
    """Attention's and the MLP's outputs that together are the block's update."""
    attentions = [out for out in outputs if _ATTENTION.search(out.path)]
    others = [out for out in outputs if not _ATTENTION.search(out.path)]
    for attention in attentions:
        for mlp in others:
            if block.same(block.x + attention.gives + mlp.gives, block.y):
                return attention, mlp
    return None


def _first(block: Block, outputs: Iterable[Call], before: Tensor, after: Tensor) -> Call | None:
    """The outermost module whose output added to `before` gives `after`."""
    return next((out for out in outputs if block.same(before + out.gives, after)), None)


def _scaled(block: Block, outputs: Iterable[Call], before: Tensor) -> tuple[Call | None, float]:
    """As `_first`, where the block's output is a multiple of that sum; and the multiple."""
    for out in outputs:
        whole = (before + out.gives).double()
        scale = ((whole * block.y).sum() / whole.square().sum().clamp(min=1e-30)).item()
        if block.same((scale * whole).to(block.y), block.y):
            return out, scale
    return None, 1.0


def _nearest(block: Block, outputs: Sequence[Call], before: Tensor, after: Tensor) -> str:
    gaps = [
        (block.gap(before + out.gives, after), out.path) for out in outputs if out.gives is not None
    ]
    if not gaps:
        return "no module gives a tensor of the stream's shape"
    gap, path = min(gaps)
    return f"the output of {path}, the nearest, is {gap:.0%} off what the stream is given"


def _nearest_pair(block: Block, outputs: Sequence[Call]) -> str:
    """How far the best two are off, as where what is added is multiplied on its way."""
    gaps = [
        (block.gap(block.x + one.gives + other.gives, block.y), one.path, other.path)
        for one in outputs
        for other in outputs
        if one.ended < other.began
    ]
    if not gaps:
        return "there are none"
    gap, one, other = min(gaps)
    return f"those of {one} and {other}, the nearest, are {gap:.0%} off"


def _top(call: Call, block: Block) -> str:
    """Path of the child of the block that owns what a module gave."""
    owner = _owner(block, call)
    return call.path if owner is None else owner.path


def _owner(block: Block, add: Call | None) -> Call | None:
    """The sublayer whose output is added: the child around it, or before its norm or dropout."""
    if add is None:
        return None
    children = [call for call in block.calls.inside if "." not in call.path]
    own = next((c for c in children if c.path == add.path.split(".")[0]), None)
    if own is None or own.matrix or _has_parts(block, own):
        return own
    earlier = [c for c in children if c.ended < add.began and _has_parts(block, c)]
    return max(earlier, key=lambda call: call.ended, default=own)


def _reader(block: Block, mlp: Call | None, middle: Call | None) -> Call | None:
    """What reads the MLP's input: the MLP, or its first map where the block holds the maps."""
    owner = _owner(block, mlp)
    if owner is None or _has_parts(block, owner) or middle is None:
        return owner
    maps = [c for c in block.calls.inside if c.matrix and "." not in c.path]
    after = [c for c in maps if c.began > middle.began or c.path == middle.path]
    return min(after, key=lambda call: call.began, default=None)


def _has_parts(block: Block, call: Call) -> bool:
    return any(inner.path.startswith(f"{call.path}.") for inner in block.calls.inside)


def _last_linear(block: Block, owner: Call, add: Call) -> Call | None:
    """The map inside a sublayer that gives all of its output, or all that it adds."""
    if owner.matrix:
        return owner if owner.reads.dim() == 3 else None
    inside = [
        call
        for call in block.calls.inside
        if call.matrix and call.path.startswith(f"{owner.path}.")
    ]
    for call in sorted(inside, key=lambda linear: -linear.ended):
        gives_all = any(block.same(call.gives, whole) for whole in (owner.gives, add.gives))
        if call.reads.dim() == 3 and gives_all and not block.same(call.reads, call.gives):
            return call
    return None


def _read_by(block: Block, mlp: Call, middle: Call | None) -> Place | None:
    """What the MLP reads: a norm's output where that goes nowhere else, or the MLP's own copy."""
    if mlp.reads.shape != block.x.shape:
        return None
    d = mlp.reads.shape[-1]
    children = [call for call in block.calls.inside if "." not in call.path]
    readers = [call for call in children if torch.equal(call.reads, mlp.reads)]
    if readers == [mlp]:
        for call in children:
            if torch.equal(call.gives, mlp.reads) and (middle is None or call.path == middle.path):
                return Place(call.path, "output", d)
    return Place(mlp.path, "input", d, alone=True)
