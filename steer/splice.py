"""The splice itself: pure torch, from a live activation to what is added to it.

The edit is the difference Δ = (f′ − f)·W_dec, never decode(f′) + (x − decode(f)): the two are the
same on paper, but only Δ is exactly zero where nothing changes (the other form changes 16% of
fp32 entries and more of bf16). So the error term stays in x and is never materialised.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from steer.plan import SitePlan
from steer.positions import Span


@dataclass(frozen=True, eq=False)
class Change:
    """What one plan wants at its site: Δ [b, s, d] in x's dtype, and per edit [b, s, k]:
    whether the token is touched, the activation read, the one asked for, and ‖Δ‖ of the edit."""

    delta: Tensor
    touched: Tensor
    before: Tensor
    after: Tensor
    dose: Tensor


@dataclass(frozen=True, eq=False)
class Record:
    """What a plan did in one forward pass of b rows and s tokens, for k edits.

    absolute [b, s]: position of each token in its text.
    touched [b, s, k]: the edit's positions include the token.
    before, after, reached [b, s, k]: activation read, asked for, and re-encoded afterwards.
    dose [b, s, k]: norm of what the edit adds.
    norm [b, s]: ‖x‖ before the edit.
    moved [b, s]: whether x changed at all, in its own dtype.
    """

    absolute: Tensor
    touched: Tensor
    before: Tensor
    after: Tensor
    reached: Tensor
    dose: Tensor
    norm: Tensor
    moved: Tensor


def change(x: Tensor, plan: SitePlan, span: Span) -> Change:
    """What the plan changes at x [b, s, d]. Computed in fp32 and cast once.

    Δ is exactly 0 at tokens that no edit changes.
    """
    live = x.float()
    features, norm = plan.dictionary.encode(live)
    before = features[..., plan.columns]
    touched = plan.mask(span)
    edited = torch.clamp(plan.mul * before + plan.add, min=plan.lo, max=plan.hi)
    after = torch.where(touched, edited, before)
    difference = after - before
    delta = difference @ plan.W_dec
    dose = difference.abs() * plan.W_dec.norm(dim=-1)
    if norm.scale is not None:
        delta, dose = delta * norm.scale, dose * norm.scale
    if plan.drop_error:
        reconstruction = plan.dictionary.decode(features, norm)
        real = span.real.unsqueeze(-1)
        delta = torch.where(real, reconstruction + delta - live, 0.0)
    return Change(delta.to(x.dtype), touched, before, after, dose)


def splice(x: Tensor, plans: list[SitePlan], span: Span) -> list[Record]:
    """Add to x [b, s, d], in place, what all the plans of one site want.

    Every plan reads the same clean x. In place, because resid_mid is read by the norm and by the
    residual branch alike.
    """
    spans = [span.rows(plan.rows) for plan in plans]
    clean = [x[plan.rows].clone() for plan in plans]
    changes = [change(*each) for each in zip(clean, plans, spans, strict=True)]
    for plan, found in zip(plans, changes, strict=True):
        x[plan.rows] += found.delta
    records = []
    for plan, found, before, tokens in zip(plans, changes, clean, spans, strict=True):
        edited = x[plan.rows]
        records.append(
            Record(
                absolute=tokens.absolute,
                touched=found.touched,
                before=found.before,
                after=found.after,
                reached=plan.dictionary.encode(edited.float())[0][..., plan.columns],
                dose=found.dose,
                norm=before.float().norm(dim=-1),
                moved=(edited != before).any(-1),
            )
        )
    return records
