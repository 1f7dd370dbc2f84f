"""Whether writing at the sites that were found reaches the stream: one pass that writes at all."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from steer.lm.anatomy.calls import TOKENS, argument, first_tensor, run
from steer.lm.anatomy.values import BlockAnatomy

_SHARE = 0.5
"""Of a token's norm that is written."""
_WRITTEN = ("attn_out", "resid_mid", "mlp_out", "resid_post")
_TOLERANCES = {torch.float64: 1e-6, torch.float32: 1e-3}
_HALF = 0.05


def check_writing(
    module: nn.Module, blocks: Sequence[nn.Module], anatomies: Sequence[BlockAnatomy]
) -> list[BlockAnatomy]:
    """The blocks without the sites at which a written vector does not arrive in the stream."""
    seen = [dict[str, Tensor]() for _ in blocks]
    with ExitStack() as hooks:
        for number, (block, anatomy) in enumerate(zip(blocks, anatomies, strict=True)):
            for kind in ("resid_pre", *_WRITTEN):
                if kind in anatomy.sites:
                    _hook(block, anatomy, kind, seen[number], hooks)
        run(module, TOKENS)
    return [_kept(anatomy, values) for anatomy, values in zip(anatomies, seen, strict=True)]


def _hook(
    block: nn.Module, anatomy: BlockAnatomy, kind: str, seen: dict[str, Tensor], hooks: ExitStack
) -> None:
    place = anatomy.sites[kind]

    def write(x: Tensor | None) -> None:
        if x is None or x.dim() != 3:
            return
        if kind != "resid_pre":
            seen[f"{kind} before"] = x.clone()
            generator = torch.Generator().manual_seed(_WRITTEN.index(kind))
            vector = torch.randn(x.shape[-1], generator=generator).to(x)
            x += _SHARE * x.norm(dim=-1, keepdim=True) * vector / vector.norm()
        seen[kind] = x.clone()

    def before(_: nn.Module, args: Any, kwargs: Any) -> None:
        write(argument(args, kwargs))

    def after(_: nn.Module, args: Any, output: Any) -> None:
        write(first_tensor(output))

    target = block.get_submodule(place.path)
    if place.side == "input":
        handle = target.register_forward_pre_hook(before, with_kwargs=True)
    else:
        handle = target.register_forward_hook(after)
    hooks.callback(handle.remove)


def _kept(anatomy: BlockAnatomy, seen: dict[str, Tensor]) -> BlockAnatomy:
    gaps = _gaps(seen)
    limit = _HALF
    for value in seen.values():
        limit = _TOLERANCES.get(value.dtype, _HALF)
    lost = {
        kind: f"what is written there does not arrive in the stream ({gap:.0%} of it is missing)"
        for kind, gap in gaps.items()
        if not gap <= limit and kind in anatomy.sites
    }
    sites = {kind: place for kind, place in anatomy.sites.items() if kind not in lost}
    return replace(anatomy, sites=sites, refused={**anatomy.refused, **lost})


def _gaps(seen: dict[str, Tensor]) -> dict[str, float]:
    """By kind: how far the stream behind a written site is from what it should be there."""
    x, post = seen.get("resid_pre"), seen.get("resid_post before")
    if x is None or post is None:
        return {}
    attention, mlp = seen.get("attn_out"), seen.get("mlp_out")
    gaps: dict[str, float] = {}
    if "resid_mid" in seen:
        middle = seen["resid_mid before"]
        if attention is not None:
            gaps["attn_out"] = _gap(x + attention, middle, attention - seen["attn_out before"])
        if mlp is not None:
            gap = _gap(seen["resid_mid"] + mlp, post, mlp - seen["mlp_out before"])
            gaps["mlp_out"] = gaps["resid_mid"] = gap
    elif attention is not None and mlp is not None:
        gap = _gap(x + attention + mlp, post, mlp - seen["mlp_out before"])
        gaps["attn_out"] = gaps["mlp_out"] = gap
    return gaps


def _gap(wanted: Tensor, actual: Tensor, written: Tensor) -> float:
    """The median token's distance, as a share of what was written."""
    size = written.double().norm(dim=-1).clamp(min=1e-12)
    return ((wanted.double() - actual.double()).norm(dim=-1) / size).median().item()
