"""The edited rows' prompts, read before the baselines'.

All rows are decoded together, since two take little more time than one. But reading a prompt takes
its time for every row, and what is waited for is the edited text's first token: so the edited rows
read theirs first, and when the others have read theirs, all go on as one batch. If those are the
same prompts, they need not read them in the blocks below the first edited one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from steer.errors import SteerError
from steer.lm.remote_answers import Question
from steer.lm.span import Span
from steer.runs.few_rows import quick_rows
from steer.runs.sampling import OnStep
from steer.splice import passes
from steer.splice.finite import Watch
from steer.splice.one_pass import sites_of
from steer.splice.passes import Begun
from steer.splice.plan import SitePlan
from steer.splice.record import Record

Options = Callable[[OnStep | None], dict[str, Any]]
"""Of transformers' generate, with what listens; made anew for every call, as the noise is."""

_BY_ROW = ("input_ids", "attention_mask", "position_ids", "token_type_ids")


@dataclass(frozen=True, eq=False)
class Batch:
    """Prompts as ids [b, s], the plans for them, and the first of their edited rows."""

    ids: Tensor
    span: Span
    plans: list[SitePlan]
    first: int


class Decoded(NamedTuple):
    """What came of it.

    sequences: of each row, ids of prompt and continuation. logits: of each step [b, V], if asked
        for. steps: what each plan did at each. failed: rows that it ended for, whose last token
        was chosen from logits that are not finite.
    """

    sequences: Sequence[Tensor]
    logits: Sequence[Tensor] | None
    steps: list[list[Record]]
    failed: list[int]


@dataclass(frozen=True, eq=False)
class Head:
    """The last rows of a batch, their prompt read.

    tokens [k, 1], logits [k, V]: the first that they generate. layers: of their cache, if others
        can join it. begun: what the pass did. stopped: whether the listener asked to stop there.
    failed: rows of the batch whose logits are not finite.
    """

    tokens: Tensor
    logits: Tensor
    layers: list[Any]
    begun: Begun
    stopped: bool
    failed: list[int]


def decode(
    nn: Any,
    batch: Batch,
    options: Options,
    on_step: OnStep | None = None,
    on_first: OnStep | None = None,
) -> Decoded:
    """Continue every row.

    on_first: called with the edited rows' first tokens, ids [b - first, s + 1]; True stops there.
    """
    ids, span, plans = batch.ids, batch.span, batch.plans
    head = read_first(nn, batch, options, on_first)
    if head is not None and (head.stopped or head.failed):
        return _stopped(ids, batch.first, head)
    if head is not None and not head.layers:
        head = None
    begun = None if head is None else head.begun
    watch = Watch()
    asked = watch.into(options(on_step))
    with joined(nn._module, head), quick_rows(len(ids)):
        result, steps = passes.generate(nn, ids, span, plans, asked, begun)
    return Decoded(list(result.sequences), result.logits, steps, watch.rows)


def decoding(batch: Batch, options: Options) -> Question[Decoded]:
    """The same with nobody listening, to be answered elsewhere: all rows from the start."""
    ids, watch = batch.ids, Watch()
    given = (ids, batch.span, batch.plans, watch.into(options(None)), watch, None)

    def read(answer: dict[str, Any]) -> Decoded:
        sequences, start = answer.get("sequences"), ids.shape[1]
        if not isinstance(sequences, Tensor) or not torch.equal(sequences[:, :start], ids.cpu()):
            raise SteerError("what came back continues other prompts: run the same again")
        steps = passes.records_of(answer)
        if not len(steps) == sequences.shape[1] - start >= 1:
            raise SteerError(f"{len(steps)} steps came back of a text of another length")
        return Decoded(list(sequences), answer["logits"], steps, answer["failed"])

    return Question(f"{len(ids)} rows of text", passes.asked_generation, given, read)


def read_first(nn: Any, batch: Batch, options: Options, on_first: OnStep | None) -> Head | None:
    """The edited rows; None if nobody listens and what the model caches can't join other rows."""
    ids, span, stopped = batch.ids, batch.span, False

    def listen(ids: Tensor) -> bool:
        nonlocal stopped
        stopped = bool(on_first and on_first(ids))
        return True

    watch = Watch()
    asked = watch.into({**options(listen), "output_logits": True})
    joins = asked.get("use_cache", True) and not nn._module._is_stateful
    if not joins and on_first is None:
        return None
    own = [replace(plan, rows=_from(plan.rows, batch.first)) for plan in batch.plans]
    others, rows = slice(0, batch.first), slice(batch.first, None)
    same = torch.equal(ids[others], ids[rows]) and torch.equal(span.real[others], span.real[rows])
    shared = min((site.hookpoint.layer for site in sites_of(own)), default=0) if same else 0
    with quick_rows(ids[rows].numel()):
        result, begun = passes.begin(nn, ids[rows], span.rows(rows), own, asked, shared)
    layers = _layers(result.values())
    if any(layer.keys is None for layer in layers):  # a model that keeps nothing there
        layers = []
    failed = [batch.first + row for row in watch.rows]
    return Head(result.sequences[:, -1:], result.logits[0], layers, begun, stopped, failed)


@contextmanager
def joined(module: Any, head: Head | None) -> Iterator[None]:
    """While entered, the model's next call computes the rows that `head` has not, and gives all."""
    if head is None:
        yield
        return

    def others(_: Any, args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        before.remove()
        rows = slice(0, len(kwargs["input_ids"]) - len(head.tokens))
        given = {name: kwargs[name] for name in _BY_ROW if isinstance(kwargs.get(name), Tensor)}
        # Position ids of multimodal models have their axes first: [3, b, s].
        narrow = {name: x[:, rows] if x.dim() == 3 else x[rows] for name, x in given.items()}
        return args, kwargs | narrow

    def all_rows(_: Any, args: Any, kwargs: dict[str, Any], output: Any) -> Any:
        after.remove()
        layers = _layers(kwargs.values())
        below = len(head.begun.shared)
        for number, (layer, own) in enumerate(zip(layers, head.layers, strict=True)):
            above = own if number < below else layer
            own.keys = torch.cat([above.keys, own.keys])
            own.values = torch.cat([above.values, own.values])
            layers[number] = own
        last = output.logits[:, -1:]
        output.logits = torch.cat([last, head.logits.unsqueeze(1).to(last.dtype)])
        return output

    before = module.register_forward_pre_hook(others, with_kwargs=True)
    after = module.register_forward_hook(all_rows, with_kwargs=True)
    try:
        yield
    finally:
        before.remove()
        after.remove()


def _layers(values: Any) -> list[Any]:
    """Of the cache among the values, if it is keys and values and nothing else; or none."""
    from transformers import DynamicCache
    from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

    cache = next((value for value in values if type(value) is DynamicCache), None)
    plain = (DynamicLayer, DynamicSlidingWindowLayer)
    if cache is None or any(type(layer) not in plain for layer in cache.layers):
        return []
    return cache.layers


def _from(rows: slice, first: int) -> slice:
    return slice(rows.start - first, rows.stop - first)


def _stopped(ids: Tensor, first: int, head: Head) -> Decoded:
    """The edited rows have one token, the others none."""
    sequences = [*ids[:first], *torch.cat([ids[first:], head.tokens], dim=1)]
    logits = head.logits.new_full((len(ids), head.logits.shape[1]), torch.nan)
    logits[first:] = head.logits
    return Decoded(sequences, [logits], [head.begun.records], head.failed)
