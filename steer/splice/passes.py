"""The trace bodies under plans; see `steer.lm.passes` for what nnsight imposes on them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from steer.lm.anatomy import Site, anatomy_of
from steer.lm.passes import save
from steer.lm.passes.plain import input_embedding, module_at, quiet, read
from steer.lm.remote import Remote, backend
from steer.lm.span import Span
from steer.splice.plan import SitePlan
from steer.splice.record import Part, Record, write
from steer.splice.splice import Reading, delta, observe
from steer.splice.text_memory import Memory


@dataclass(frozen=True, eq=False)
class Begun:
    """A first pass over some rows, from which others may resume.

    records, memory: what the plans did, and what they remember of it.
    shared: paths of the blocks below the first edited one, whose work is the same for rows of the
        same texts; entry [b, s, d]: what they gave. None if there are none.
    """

    records: list[Record]
    memory: Memory
    shared: tuple[str, ...] = ()
    entry: Tensor | None = None


def apply(nn: Any, plans: list[SitePlan], span: Span, memory: Memory) -> list[Record]:
    """Read and write at every plan's sites, in the order of the forward pass.

    All plans that read at a site see it before any of them writes there, and what those of the same
    rows write is added up first. Writing is in place: resid_mid is read by the norm and by the
    residual branch alike. Records are in plan order, see `Record`.
    Plans follow the activations to where they are, which on a server is not where they were made.
    """
    readings: dict[int, Reading] = {}
    records: dict[int, Record] = {}
    for site in sites_of(plans):
        x = read(nn, site)
        here = [plan.to(x.device) for plan in plans]
        for number, plan in enumerate(here):
            if plan.site == site:
                rows = span.to(x.device).rows(plan.rows)
                clean = None if plan.clean is None else x[plan.clean]
                readings[number] = observe(x[plan.rows], plan, rows, memory, number, clean)
        parts: dict[int, Part] = {}
        for number, plan in enumerate(here):
            if site in plan.outs:
                clean = None if plan.clean is None else x[plan.clean]
                added = delta(x[plan.rows], plan, site, readings[number], clean)
                parts[number] = Part(plan, readings[number], added)
        for group, numbers in _by_rows(here, list(parts)):
            written = write(x[group], [parts[number] for number in numbers], site)
            for number, found in zip(numbers, written, strict=True):
                records[number] = found.with_other(records.get(number))
    return [records[number] for number in range(len(plans))]


def _by_rows(plans: list[SitePlan], numbers: list[int]) -> list[tuple[slice, list[int]]]:
    """Numbers of plans that edit the same rows, together."""
    together: dict[tuple[int | None, int | None], list[int]] = {}
    for number in numbers:
        rows = plans[number].rows
        together.setdefault((rows.start, rows.stop), []).append(number)
    return [(plans[group[0]].rows, group) for group in together.values()]


def sites_of(plans: list[SitePlan]) -> list[Site]:
    """Every site that the plans read or write, in the order of the forward pass."""
    sites = {site for plan in plans for site in (plan.site, *plan.outs)}
    return sorted(sites, key=lambda site: site.hookpoint.order)


def logits(
    nn: Any, ids: Tensor, span: Span, plans: list[SitePlan], remote: Remote = False
) -> tuple[Tensor, list[Record]]:
    """Logits [b, s, V] of one forward pass under the plans, and what each plan did."""
    inputs = {"input_ids": ids, "attention_mask": span.real.long()}
    with torch.inference_mode(), nn.trace(inputs, use_cache=False, **backend(nn, remote)) as tracer:
        records: list[Record] = save([])
        records.extend(apply(nn, plans, span, {}))
        output = save(tracer.result)
    return output.logits, records


def generate(
    nn: Any,
    ids: Tensor,
    span: Span,
    plans: list[SitePlan],
    options: dict[str, Any],
    remote: Remote = False,
    begun: Begun | None = None,
) -> tuple[Any, list[list[Record]]]:
    """transformers' output under the plans, and what each plan did at each step.

    begun: the edited rows' first pass, if that has been; the blocks that it shares are skipped.
    """
    inputs = {"input_ids": ids, "attention_mask": span.real.long()}
    embedding = input_embedding(nn)
    memory: Memory = {} if begun is None else begun.memory
    with quiet(), torch.inference_mode(), nn.generate(**options, **backend(nn, remote)) as tracer:
        records: list[list[Record]] = save([])
        with tracer.invoke(inputs):
            for step in tracer.iter[:]:
                token_ids = module_at(nn, embedding).input
                if step == 0 and begun is not None:
                    for path in begun.shared:
                        module_at(nn, path).skip(begun.entry)
                    records.append(begun.records)
                else:
                    records.append(apply(nn, plans, span.step(step, token_ids), memory))
        with tracer.invoke():
            result = save(tracer.result)
    return result, records


def begin(
    nn: Any, ids: Tensor, span: Span, plans: list[SitePlan], options: dict[str, Any], shared: int
) -> tuple[Any, Begun]:
    """transformers' output after one token under the plans, which edit nothing below a block.

    shared: how many blocks there are below it; none is shared if they give more than the stream.
    """
    inputs = {"input_ids": ids, "attention_mask": span.real.long()}
    memory: Memory = {}
    anatomy = anatomy_of(nn._module)
    below = [skip.path for skip in anatomy.below(shared)] if anatomy.resumes else []
    with quiet(), torch.inference_mode(), nn.generate(**options) as tracer:
        records: list[Record] = save([])
        entry: list[Tensor] = save([])
        with tracer.invoke(inputs):
            if below and isinstance(module_at(nn, below[-1]).output, Tensor):
                entry.append(module_at(nn, below[-1]).output.clone())
            records.extend(apply(nn, plans, span, memory))
        with tracer.invoke():
            result = save(tracer.result)
    if not entry:
        return result, Begun(records, memory)
    return result, Begun(records, memory, tuple(below), entry[0])


def teacher_forced(
    nn: Any, ids: Tensor, span: Span, plans: list[SitePlan]
) -> tuple[Tensor, list[Record]]:
    """Logits [b, s, V] of right-padded ids [b, s] under the plans, and what each plan did.

    Nothing in a causal model looks at later tokens, so right padding needs no mask. Without one the
    model runs the same kernels as when it is called on the ids alone, and an edit that does nothing
    leaves every bit of the logits as it is.
    """
    with torch.inference_mode(), nn.trace(ids, use_cache=False) as tracer:
        records: list[Record] = save([])
        records.extend(apply(nn, plans, span, {}))
        output = save(tracer.result)
    return output.logits, records
