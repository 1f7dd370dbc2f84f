"""The trace bodies of paths: passes that stop at a later site, or hold parts of the model still."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import torch
from torch import Tensor

from steer.errors import ModelError
from steer.lm.anatomy import Site
from steer.lm.passes import save
from steer.lm.passes.plain import add, module_at, read
from steer.lm.passes.resumed import Resume

Slope = Callable[[Tensor, Tensor], Tensor]
"""(change [b, s, d], clean x [1, s, d]) -> the change of a norm's output, linear in the first."""


def reach(nn: Any, start: Resume, site: Site) -> Tensor:
    """Activations [b, s, d] at a later site of a resumed pass, run no further than that."""
    skipped, entry, inner = start.skipped, start.entry, start.inner
    delta: Any = start.delta
    with torch.inference_mode(), nn.trace(start.inputs, **start.options) as tracer:
        for skip in skipped:
            module_at(nn, skip.path).skip(skip.output(entry))
        if inner is not None:
            add(nn, inner, delta)
        reached: Any = save(read(nn, site).clone())
        tracer.stop()
    return reached


def held(nn: Any, start: Resume, sites: Sequence[Site], norm: tuple[str, Slope] | None) -> Tensor:
    """Logits [b, keep or s, V] of a resumed pass whose row 0 is clean.

    sites: where every row is given what row 0 has, in the order of the forward pass.
    norm: path of the final norm and its slope at row 0, that takes its place; None leaves it.
    """
    skipped, entry, inner = start.skipped, start.entry, start.inner
    delta: Any = start.delta
    with torch.inference_mode(), nn.trace(start.inputs, **start.options) as tracer:
        for skip in skipped:
            module_at(nn, skip.path).skip(skip.output(entry))
        if inner is not None:
            add(nn, inner, delta)
        for site in sites:
            value = read(nn, site)
            value[:] = value[:1].clone()
        if norm is not None:
            path, slope = norm
            x, y = module_at(nn, path).input, module_at(nn, path).output
            y[:] = y[:1] + slope(x - x[:1], x[:1])
        output = tracer.result.save()
    return output.logits[:, -start.keep :]


@contextmanager
def frozen_patterns(module: Any) -> Iterator[None]:
    """Every row of a batch attends as its row 0 does: row 0's queries and keys stand for all.

    Exact for any attention that goes through transformers' registry of attention functions, with
    grouped heads, rotary positions, sliding windows, sinks or capped scores, since the model's own
    function still makes the pattern. Raises `ModelError` for a model that goes around it.
    """
    from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS as MASKS
    from transformers.masking_utils import AttentionMaskInterface
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS as FUNCTIONS
    from transformers.modeling_utils import AttentionInterface

    config, before = module.config, module.config._attn_implementation
    name, used = f"steer_{uuid4().hex}", []

    def attend(
        layer: Any, query: Tensor, key: Tensor, value: Tensor, *rest: Any, **more: Any
    ) -> Any:
        used.append(layer)
        own = FUNCTIONS.get_interface(before, _eager(layer))
        return own(layer, query[:1].expand_as(query), key[:1].expand_as(key), value, *rest, **more)

    AttentionInterface.register(name, attend)
    AttentionMaskInterface.register(name, MASKS[before])
    try:
        config._attn_implementation = name
        yield
    finally:
        config._attn_implementation = before
        for registry in (FUNCTIONS, MASKS):
            registry._global_mapping.pop(name, None)
    if not used:
        raise ModelError(
            f"attention patterns of {type(module).__name__} can't be frozen: its attention does "
            "not use transformers' attention functions; freeze attention outputs instead"
        )


def _eager(layer: Any) -> Any:
    """The plain attention function of the layer's own family."""
    return getattr(sys.modules[type(layer).__module__], "eager_attention_forward", None)
