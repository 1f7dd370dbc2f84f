"""The splice itself: pure torch, from a live activation to what is added to it.

The edit is the difference Δ = (f′ − f)·W_dec, never decode(f′) + (x − decode(f)): the two are the
same on paper, but only Δ is exactly zero where nothing changes (the other form changes 16% of
fp32 entries and more of bf16). So the error term stays in x and is never materialised, unless the
intervention says that it is to be dropped or frozen.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dictionaries.config import Norm
from steer.edits.conditions import Leaf, Seen
from steer.lm.anatomy import Site
from steer.lm.span import Span
from steer.splice.plan import LoweredEdit, SitePlan
from steer.splice.text_memory import Memory, encode

_ROUNDING = 4
"""Two passes over one text in different batches differ by up to 1 fp32 epsilon of ‖x‖ along a
decoder row (default model); by less than one of a lower dtype."""


@dataclass(frozen=True, eq=False)
class EditTrace:
    """What one edit did in a pass, each [b, s].

    touched: its positions include the token; fired: and its condition and schedule let it act.
    before, after: reading and what it was made; dose: norm of what it adds. What is read is the
    site in this run: edits at earlier sites are in it, those at this one are not.
    """

    touched: Tensor
    fired: Tensor
    before: Tensor
    after: Tensor
    dose: Tensor


@dataclass(frozen=True, eq=False)
class Reading:
    """What a plan found at its site and wants done.

    change [b, s, targets]: after minus before; norm: per-token normalisation to undo.
    reconstruction [b, s, d_out]: what the dictionary explains of the output, if the error is not
        kept; clean: the same of the clean run, if it is frozen.
    """

    change: Tensor
    norm: Norm
    edits: tuple[EditTrace, ...]
    span: Span
    reconstruction: Tensor | None = None
    clean: Tensor | None = None
    parts: tuple[Tensor, ...] = ()
    """Unit parts [b, s, d] of what was read in each subspace; zeros where it has none there."""


def observe(
    x: Tensor,
    plan: SitePlan,
    span: Span,
    memory: Memory,
    number: int,
    clean: Tensor | None = None,
) -> Reading:
    """Read x [b, s, d] of the plan's rows and decide what to change, in the plan's dtype.

    clean: the same rows of the clean run, for the frozen error.
    """
    live = x.to(plan.dtype)
    features, norm = None, Norm()
    if plan.dictionary is not None:
        features, norm = encode(plan.dictionary, live, span, memory, number)
    targets = read_targets(live, features, plan)
    columns, traces = list(targets.unbind(-1)), []
    scale = live.new_ones(()) if norm.scale is None else norm.scale.squeeze(-1)
    length, row_norm = live.norm(dim=-1), plan.row_norm
    # A feature is in the dictionary's units, a direction in those of x itself.
    units = {True: scale, False: torch.ones_like(scale)}
    lengths = {of_feature: length / unit for of_feature, unit in units.items()}
    held: dict[Leaf, Tensor] = {
        leaf: _leaf(targets[..., column], leaf, span, memory, number)
        for leaf, column in plan.leaves.items()
    }
    for edit, touched in zip(plan.edits, plan.touched(span), strict=True):
        before = columns[edit.target]
        of_feature = edit.target < len(plan.columns)
        unit = units[of_feature]
        value = edit.value(lengths[of_feature], row_norm, span)
        if edit.table is not None:
            noise = length * _rounding(x.dtype, plan.dtype) / (row_norm[edit.target] * unit)
            value = torch.where((value - before).abs() <= noise, before, value)
        wanted, fired = _wanted(before, value, edit, touched, span, held)
        if edit.target >= plan.first_subspace:
            wanted = torch.where(targets[..., edit.target] > 0, wanted, before)
        columns[edit.target] = after = torch.where(fired, wanted, before)
        dose = (after - before).abs() * row_norm[edit.target] * unit
        traces.append(EditTrace(touched, fired, before, after, dose))
    change = _settled(torch.stack(columns, dim=-1) - targets, traces, plan) if columns else targets
    parts = tuple(_unit_part(live, rows) for rows in plan.subspaces)
    if plan.error == "keep" or plan.dictionary is None:
        return Reading(change, norm, tuple(traces), span, parts=parts)
    assert features is not None
    explained = plan.dictionary.decode(features, norm)
    if plan.dictionary.W_skip is not None:
        explained = explained + live @ plan.dictionary.W_skip
    of_clean = None
    if clean is not None:
        of_clean = plan.dictionary.reconstruct_texts(clean.to(plan.dtype), span.real)
    return Reading(change, norm, tuple(traces), span, explained, of_clean, parts)


def _unit_part(live: Tensor, rows: Tensor) -> Tensor:
    part = live @ rows.T @ rows
    length = part.norm(dim=-1, keepdim=True)
    return torch.where(length > 0, part / length.clamp(min=1e-30), 0.0)


def _rounding(dtype: torch.dtype, compute: torch.dtype) -> float:
    """What two readings of one text may differ by, as a share of ‖x‖ along what a target writes."""
    return max(torch.finfo(dtype).eps, _ROUNDING * torch.finfo(compute).eps)


def _settled(change: Tensor, traces: Sequence[EditTrace], plan: SitePlan) -> Tensor:
    """Edits in order that undo each other leave the rounding of what they passed through: none."""
    counts = Counter(edit.target for edit in plan.edits)
    for target in (target for target, count in counts.items() if count > 1):
        pairs = zip(plan.edits, traces, strict=True)
        passed = torch.stack([trace.after for edit, trace in pairs if edit.target == target])
        noise = passed.abs().amax(0) * _ROUNDING * torch.finfo(plan.dtype).eps
        left = change[..., target]
        change[..., target] = torch.where(left.abs() <= noise, 0.0, left)
    return change


def read_targets(live: Tensor, features: Tensor | None, plan: SitePlan) -> Tensor:
    """Readings of all targets [b, s, n + k + m], given the dictionary's features."""
    readings = [] if features is None else [features[..., plan.columns]]
    if len(plan.directions) or features is None:
        readings.append(live @ plan.directions.T)
    readings += [(live @ rows.T).norm(dim=-1, keepdim=True) for rows in plan.subspaces]
    return readings[0] if len(readings) == 1 else torch.cat(readings, dim=-1)


def _wanted(
    before: Tensor,
    value: Tensor | float,
    edit: LoweredEdit,
    touched: Tensor,
    span: Span,
    held: dict[Leaf, Tensor],
) -> tuple[Tensor, Tensor]:
    """What the edit makes of the reading, and where it acts, [b, s] each."""
    numbers, fired = edit.edit.numbers, touched
    wanted = numbers.mul * before
    if numbers.adds:
        wanted = wanted + value
    if numbers.floors:
        wanted = torch.maximum(wanted, torch.as_tensor(value, device=wanted.device))
    if numbers.caps:
        wanted = torch.minimum(wanted, torch.as_tensor(value, device=wanted.device))
    if edit.table is not None:
        fired = fired & ~wanted.isnan()
    if edit.edit.when is not None:
        fired = fired & edit.edit.when.holds(lambda leaf: held[leaf])
    if edit.edit.schedule is not None:
        strength = edit.edit.schedule.strength(span.generated, before.dtype)
        wanted = before + strength * (wanted - before)
        fired = fired & (strength > 0)
    return wanted, fired


def _leaf(reading: Tensor, leaf: Leaf, span: Span, memory: Memory, number: int) -> Tensor:
    """Where a feature condition holds, [b, s]."""
    now = (reading > leaf.above) & span.real
    if not isinstance(leaf, Seen):
        return now
    counted = now & (span.absolute > 0)
    before = memory.get((number, leaf), torch.zeros_like(counted[:, 0])).unsqueeze(1)
    earlier = before & (span.absolute[:, :1] > 0)  # without a cache the text is read from its start
    so_far = (counted.long().cumsum(1) > 0) | earlier
    memory[number, leaf] = so_far[:, -1]
    return so_far


def delta(y: Tensor, plan: SitePlan, site: Site, reading: Reading, clean: Tensor | None) -> Tensor:
    """What to add to y [b, s, d] at a site that the plan writes, in the plan's dtype.

    clean: the same rows of the clean run, for the frozen error.
    """
    n = plan.columns.shape[0]
    written = reading.change[..., :n] @ plan.rows_at(site)[:n]
    if reading.norm.scale is not None:
        written = written * reading.norm.scale
    first = plan.first_subspace
    if len(plan.directions):
        written = written + reading.change[..., n:first] @ plan.directions
    for number, part in enumerate(reading.parts, start=first):
        written = written + reading.change[..., number, None] * part
    if plan.error != "keep":
        written = written + _error_change(y.to(plan.dtype), plan, reading, clean)
    return written


def _error_change(y: Tensor, plan: SitePlan, reading: Reading, clean: Tensor | None) -> Tensor:
    """New error minus the live one; the live one is y − reconstruction."""
    assert reading.reconstruction is not None
    error = torch.zeros_like(y)
    if plan.error == "frozen":
        assert clean is not None
        assert reading.clean is not None
        error = clean.to(plan.dtype) - reading.clean
    return torch.where(reading.span.real.unsqueeze(-1), error - (y - reading.reconstruction), 0.0)
