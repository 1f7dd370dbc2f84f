"""The trace bodies under plans; see `steer.lm.passes` for what nnsight imposes on them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from steer.lm.anatomy import anatomy_of
from steer.lm.passes import save
from steer.lm.passes.plain import input_embedding, module_at, quiet, read
from steer.lm.span import Span
from steer.splice.finite import Watch
from steer.splice.one_pass import OnePass, sites_of
from steer.splice.plan import SitePlan
from steer.splice.record import Record
from steer.splice.text_memory import Memory


class Generated(NamedTuple):
    """What transformers wrote: ids of prompt and continuation, and the logits [b, V] of each step,
    if they were asked for."""

    sequences: Tensor
    logits: list[Tensor]


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
    """Show every site to the plans; records are in plan order, see `Record`."""
    going = OnePass(plans, span, memory)
    for site in sites_of(plans):
        going.visit(site, read(nn, site))
    return going.records


def logits(nn: Any, ids: Tensor, span: Span, plans: list[SitePlan]) -> tuple[Tensor, list[Record]]:
    """Logits [b, s, V] of one forward pass under the plans, and what each plan did."""
    _, answer = asked_logits(nn, ids, span, plans, {})
    return answer["logits"], records_of(answer)[0]


def asked_logits(
    nn: Any, ids: Tensor, span: Span, plans: list[SitePlan], asked: dict[str, Any]
) -> tuple[Any, Any]:
    """The same as a body of `steer.lm.remote_answers`: `logits`, and what `records_of` reads."""
    inputs = {"input_ids": ids, "attention_mask": span.real.long()}
    answer: Any = None
    with torch.inference_mode(), nn.trace(inputs, use_cache=False, **asked) as tracer:
        records = apply(nn, plans, span, {})
        answer = save(_told(nn, [records], logits=tracer.result.logits))
    return tracer.backend, answer


def _told(nn: Any, steps: list[list[Record]], **more: Any) -> dict[str, Any]:
    """Plain data that can be kept and sent."""
    plain = [[vars(record) for record in step] for step in steps]
    return {"dtype": str(nn._module.dtype), "steps": plain, **more}


def records_of(answer: dict[str, Any]) -> list[list[Record]]:
    """What each plan did at each step."""
    return [[Record(**record) for record in step] for step in answer["steps"]]


def generate(
    nn: Any,
    ids: Tensor,
    span: Span,
    plans: list[SitePlan],
    options: dict[str, Any],
    begun: Begun | None = None,
) -> tuple[Generated, list[list[Record]]]:
    """What is written under the plans, and what each plan did at each step.

    begun: the edited rows' first pass, if that has been; the blocks that it shares are skipped.
    """
    _, answer = asked_generation(nn, ids, span, plans, options, Watch(), begun, {})
    return Generated(answer["sequences"], answer["logits"]), records_of(answer)


def asked_generation(
    nn: Any,
    ids: Tensor,
    span: Span,
    plans: list[SitePlan],
    options: dict[str, Any],
    watch: Watch,
    begun: Begun | None,
    asked: dict[str, Any],
) -> tuple[Any, Any]:
    """The same as a body of `steer.lm.remote_answers`: `sequences`, `logits`, what `records_of`
    reads, and `failed`: the rows that the watch of the options has ended the text for."""
    inputs = {"input_ids": ids, "attention_mask": span.real.long()}
    embedding = input_embedding(nn)
    memory: Memory = {} if begun is None else begun.memory
    answer: Any = None
    with quiet(), torch.inference_mode(), nn.generate(**options, **asked) as tracer:
        records: list[list[Record]] = []
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
            written = _written(tracer.result)
            answer = save(_told(nn, records, failed=list(watch.rows), **written))
    return tracer.backend, answer


def _written(result: Any) -> dict[str, Any]:
    """Of transformers' output, which is ids alone if nothing more was asked for."""
    if isinstance(result, Tensor):
        return {"sequences": result, "logits": []}
    return {"sequences": result.sequences, "logits": list(result.logits or ())}


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
