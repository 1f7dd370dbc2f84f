"""The trace bodies: everything that runs inside nnsight is in this file.

Rules that nnsight imposes, kept here so that nobody else has to know them: sites are visited in
the order of the forward pass; nothing may follow an open `tracer.iter[:]` in its invoke; a trace
body names locals only, so that a remote run ships no more than it needs.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from nnsight import save
from torch import Tensor

from steer.hookpoints import Site
from steer.plan import SitePlan
from steer.positions import Span
from steer.splice import Record, splice


@contextmanager
def _quiet() -> Iterator[None]:
    """An open `tracer.iter[:]` ends by design when generation does; nnsight warns each time."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*was never reached")
        yield


def read(nn: Any, site: Site) -> Tensor:
    """The site's live tensor [b, s, d]; attention modules return a tuple, blocks a tensor."""
    envoy = nn.get(site.path)
    value = envoy.input if site.side == "input" else envoy.output
    return value[0] if isinstance(value, tuple) else value


def collect(nn: Any, ids: Tensor, mask: Tensor, sites: list[Site]) -> dict[Site, Tensor]:
    """Activations at the sites, the model run no further than the last of them."""
    ordered = sorted(set(sites), key=lambda site: site.hookpoint.order)
    inputs = {"input_ids": ids, "attention_mask": mask}
    with torch.inference_mode(), nn.trace(inputs) as tracer:
        saved: list[Tensor] = save([])
        for site in ordered:
            saved.append(read(nn, site).clone())
        tracer.stop()
    return dict(zip(ordered, saved, strict=True))


def apply(nn: Any, plans: list[SitePlan], span: Span) -> list[Record]:
    """Splice every plan in at its site; records in the order of `in_order(plans)`."""
    records: list[Record] = []
    for group in by_site(plans):
        records += splice(read(nn, group[0].site), group, span)
    return records


def in_order(plans: list[SitePlan]) -> list[SitePlan]:
    """Plans in the order in which the forward pass reaches their sites."""
    return sorted(plans, key=lambda plan: plan.site.hookpoint.order)


def by_site(plans: list[SitePlan]) -> list[list[SitePlan]]:
    """Plans grouped by site, in the order of the forward pass."""
    groups: dict[Site, list[SitePlan]] = {}
    for plan in in_order(plans):
        groups.setdefault(plan.site, []).append(plan)
    return list(groups.values())


def logits(
    nn: Any, ids: Tensor, mask: Tensor, plans: list[SitePlan]
) -> tuple[Tensor, list[Record]]:
    """Logits [b, s, V] of one forward pass under the plans, and what each plan did."""
    span = Span.prefill(mask)
    inputs = {"input_ids": ids, "attention_mask": mask}
    with torch.inference_mode(), nn.trace(inputs, use_cache=False) as tracer:
        records: list[Any] = save([])
        records.extend(apply(nn, plans, span))
        output = tracer.result.save()
    return output.logits, records


def generate(
    nn: Any, ids: Tensor, mask: Tensor, plans: list[SitePlan], options: dict[str, Any]
) -> tuple[Tensor, list[list[Record]]]:
    """Token ids [b, prompt + generated] under the plans, and what each plan did at each step."""
    span = Span.prefill(mask)
    inputs = {"input_ids": ids, "attention_mask": mask}
    with _quiet(), torch.inference_mode(), nn.generate(**options) as tracer:
        records: list[Any] = save([])
        with tracer.invoke(inputs):
            for step in tracer.iter[:]:
                records.append(apply(nn, plans, span.step(step)))
        with tracer.invoke():
            sequences = tracer.result.save()
    return sequences, records


def replace(
    nn: Any, ids: Tensor, mask: Tensor, site: Site, replacement: Callable[[Tensor], Tensor]
) -> Tensor:
    """Logits [b, s, V] with the site's activations x [b, s, d] replaced by `replacement(x)`."""
    inputs = {"input_ids": ids, "attention_mask": mask}
    with torch.inference_mode(), nn.trace(inputs, use_cache=False) as tracer:
        x = read(nn, site)
        x[:] = replacement(x)
        output = tracer.result.save()
    return output.logits
