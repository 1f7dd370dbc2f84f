"""The trace bodies of the effects: a clean pass, and passes that resume from it.

A pass resumes from a clean one in two ways, both exact. The blocks below the site are skipped,
with the cached residual stream in their place; and the positions before the first changed one are
read from the clean pass's keys and values. What is left is the work that an edit can change.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from inspect import signature
from typing import Any

import torch
from torch import Tensor
from torch.nn import Module

from steer.lm.anatomy.values import Site, Skip
from steer.lm.passes import save
from steer.lm.passes.plain import add, module_at, quiet, read


@dataclass(frozen=True)
class Takes:
    """What a model's forward takes: what it calls its keys and values, and two options.

    transformers 5.24 renamed the cache; old families know neither `use_cache` nor `logits_to_keep`.
    positions: whether it has to be told where tokens behind a cache are: multimodal models keep
        offsets of the last text that they generated, and go by those.
    """

    cache: str = "cache"
    use_cache: bool = True
    logits_to_keep: bool = True
    positions: bool = False

    @classmethod
    def of(cls, module: Module) -> Takes:
        """Asked of the signature of its forward."""
        known = signature(module.forward).parameters
        name = "cache" if "cache" in known else "past_key_values"
        offsets = hasattr(getattr(module, "base_model", module), "rope_deltas")
        return cls(name, "use_cache" in known, "logits_to_keep" in known, offsets)

    def options(self, cached: bool, keep: int) -> dict[str, Any]:
        wanted = {"use_cache": cached} if self.use_cache else {}
        return wanted | ({"logits_to_keep": keep} if self.logits_to_keep else {})


@dataclass(frozen=True, eq=False)
class Resume:
    """Where a pass over b rows and s tokens starts, and what it changes.

    skipped: the blocks that do not run; `entry` [b, s, d] stands in for their output.
    inner: a site inside the first block that runs, or None where the entry itself is edited.
    delta [b, s, d_site]: what is added at the inner site.
    also: later sites and what is added there, in the order of the forward pass.
    cache: keys and values of the positions before these s; None if there are none.
    takes: which of the options below the model's forward takes.
    keep: how many last positions get logits; 0 is all.
    """

    ids: Tensor
    mask: Tensor
    skipped: Sequence[Skip]
    entry: Tensor
    inner: Site | None = None
    delta: Tensor | None = None
    also: Sequence[tuple[Site, Tensor]] = ()
    cache: Any = None
    takes: Takes = Takes()
    keep: int = 0

    def repeat(self, rows: int) -> Resume:
        """The same start, from a single row, for many rows."""
        wide = {name: getattr(self, name).expand(rows, -1) for name in ("ids", "mask")}
        return replace(self, entry=self.entry.expand(rows, -1, -1), **wide)

    @property
    def inputs(self) -> dict[str, Tensor]:
        return {"input_ids": self.ids, "attention_mask": self.mask}

    @property
    def options(self) -> dict[str, Any]:
        more = {self.takes.cache: self.cache} if self.cache is not None else {}
        if self.takes.positions:
            whole = self.mask.cumsum(-1) - 1
            more["position_ids"] = whole[:, whole.shape[1] - self.ids.shape[1] :]
        return {**self.takes.options(self.cache is not None, self.keep), **more}


def clean_pass(
    nn: Any, ids: Tensor, mask: Tensor, sites: Sequence[Site], keep: int, cached: bool = False
) -> tuple[list[Tensor], Tensor, Any]:
    """Activations at the sites (in the order of the forward pass), logits [b, p, V], the cache.

    cached: whether to keep one; None is what a model gives that has none of keys and values.
    """
    inputs = {"input_ids": ids, "attention_mask": mask}
    takes = Takes.of(nn._module)
    options = takes.options(cached, keep)
    with torch.inference_mode(), nn.trace(inputs, **options) as tracer:
        saved: list[Tensor] = save([])
        for site in sites:
            saved.append(read(nn, site).clone())
        output = tracer.result.save()
    cache = getattr(output, takes.cache, None) if cached else None
    return saved, output.logits[:, -keep:], cache


def resume(nn: Any, start: Resume, sites: Sequence[Site] = ()) -> tuple[Tensor, list[Tensor]]:
    """Logits [b, keep or s, V] of a resumed pass, and activations at later sites."""
    skipped, entry, inner = start.skipped, start.entry, start.inner
    delta: Any = start.delta
    also = start.also
    with torch.inference_mode(), nn.trace(start.inputs, **start.options) as tracer:
        saved: list[Tensor] = save([])
        for skip in skipped:
            module_at(nn, skip.path).skip(skip.output(entry))
        if inner is not None:
            add(nn, inner, delta)
        for site, more in also:
            add(nn, site, more)
        for site in sites:
            saved.append(read(nn, site).clone())
        output = tracer.result.save()
    return output.logits[:, -start.keep :], saved


def gradient(
    nn: Any, start: Resume, points: Tensor, measure: Callable[[Tensor], Tensor]
) -> tuple[Tensor, Tensor]:
    """The measure [b] with the site at `points` [b, s, d], and its gradient there [b, s, d].

    points: the edited entry, or what stands at the inner site.
    """
    skipped, entry, inner = start.skipped, start.entry, start.inner
    live: Any = points.clone().requires_grad_()
    # An inference tensor can't be part of a graph; its clone can.
    entry = live if inner is None else entry.clone()
    with torch.enable_grad(), nn.trace(start.inputs, **start.options) as tracer:
        for skip in skipped:
            module_at(nn, skip.path).skip(skip.output(entry))
        if inner is not None:
            x = read(nn, inner)
            x[:] = live.to(x.device)
        values = measure(tracer.result.logits)
        measured = save(values.detach().clone())
        with values.sum().backward(inputs=[live]):
            slope = save(live.grad)
    return measured, slope


def watch(
    nn: Any, ids: Tensor, mask: Tensor, site: Site, look: Callable[[Tensor], Any], options: Any
) -> tuple[Any, list[Any]]:
    """transformers' output, and `look(x)` of the site's live tensor [b, s, d] at every step."""
    inputs = {"input_ids": ids, "attention_mask": mask}
    with quiet(), torch.inference_mode(), nn.generate(**options) as tracer:
        seen: list[Any] = save([])
        with tracer.invoke(inputs):
            for _step in tracer.iter[:]:
                seen.append(look(read(nn, site)))
        with tracer.invoke():
            output = save(tracer.result)
    return output, seen
