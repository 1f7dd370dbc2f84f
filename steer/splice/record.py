"""Writing at a site, and what came of it: for every edit what it moved, measured for itself.

An edit's own move is the difference that leaving it out would make to the stream, in the stream's
own dtype. So an edit that the dtype swallows has moved nothing, whatever acts beside it, and two
that partly cancel have each moved the stream.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from steer.lm.anatomy import Site
from steer.splice.plan import SitePlan
from steer.splice.splice import Reading, read_targets

_AT_ONCE = 2**22
"""Numbers of own moves measured together: few steps for a token, little memory for a text."""


class Part(NamedTuple):
    """A plan with what it read and what it adds at a site [b, s, d], in the plan's dtype."""

    plan: SitePlan
    reading: Reading
    delta: Tensor


@dataclass(frozen=True, eq=False)
class Record:
    """What a plan did in one forward pass of b rows and s tokens, for k edits.

    absolute [b, s]: position of each token in its text.
    touched, fired, before, after, reached, dose [b, s, k]: as in `EditTrace`; reached is the
        target's reading after the splice (NaN for transcoders, which read elsewhere, and for
        dictionaries that read whole texts, whose reading depends on all earlier edits).
    norm [b, s]: ‖x‖ before the edits; delta_norm [b, s]: how far the stream went, by all plans.
    asked, moved [b, s, k]: norm of what the edit adds, and of what the stream would not have
        without it.
    undone [b, s, k]: whether other edits took all of it back.
    site: where that was; wrote [k, d]: what a unit of each edit writes there, or [b, s, k, d] where
        an edit of a subspace writes another row at each token.

    Of a plan that writes several sites, dose, norm and delta_norm are, at each token, those of the
    site that moves most for its own norm; asked and moved are of all of them, and `wrote` of the
    first. What is not finite in any of them is not finite in the logits either.
    """

    absolute: Tensor
    touched: Tensor
    fired: Tensor
    before: Tensor
    after: Tensor
    reached: Tensor
    dose: Tensor
    norm: Tensor
    delta_norm: Tensor
    asked: Tensor
    moved: Tensor
    undone: Tensor
    wrote: Tensor
    site: str

    @property
    def changed(self) -> Tensor:
        """Where the edit asked for another activation than there was, [b, s, k]."""
        return self.fired & (self.before != self.after)

    @property
    def acted(self) -> Tensor:
        """Where the stream is another because of the edit, [b, s, k]."""
        return self.changed & (self.moved > 0) & ~self.undone

    def with_other(self, other: Record | None) -> Record:
        """Of the same plan, with what it did at a site before."""
        if other is None:
            return self
        less = self.delta_norm * other.norm < other.delta_norm * self.norm
        return replace(
            self,
            dose=torch.where(less.unsqueeze(-1), other.dose, self.dose),
            norm=torch.where(less, other.norm, self.norm),
            delta_norm=torch.where(less, other.delta_norm, self.delta_norm),
            asked=torch.hypot(self.asked, other.asked),
            moved=torch.hypot(self.moved, other.moved),
            undone=self.undone & other.undone,
            wrote=other.wrote,
            site=other.site,
        )


def write(y: Tensor, parts: Sequence[Part], site: Site) -> list[Record]:
    """Add to y [b, s, d], in place, what plans of the same rows want there; a record a plan.

    Their sum is rounded to y's dtype once. A token whose stream overflows is NaN afterwards, and so
    are its logits: what would be finite nonsense can't be taken for a result.
    """
    before = y.clone()
    total = parts[0].delta
    for part in parts[1:]:
        total = total + part.delta
    y += total.to(y.dtype)
    stream = (y.to(total.dtype) - before.to(total.dtype)).norm(dim=-1)
    y[..., 0] = torch.where(stream.isfinite(), y[..., 0], torch.nan)
    doses = [_doses(part, site) for part in parts]
    moves = _own_moves(before, y, total, parts, site, stream, doses)
    return [
        _record(before, y, part, site, stream, dose, moved)
        for part, dose, moved in zip(parts, doses, moves, strict=True)
    ]


def _doses(part: Part, site: Site) -> Tensor:
    """Norm of what each edit adds at the site, [b, s, k]."""
    plan, traces = part.plan, part.reading.edits
    if site == plan.out:
        return _stack([trace.dose for trace in traces], part.delta)
    # As large as its row there, where nothing is normalised.
    return _amounts(part).abs() * _rows(plan, site).norm(dim=-1)


def _amounts(part: Part) -> Tensor:
    """Change of each edit's activation, [b, s, k]."""
    return _stack([trace.after - trace.before for trace in part.reading.edits], part.delta)


def _rows(plan: SitePlan, site: Site) -> Tensor:
    """What a unit of each edit writes at the site, [k, d]."""
    return plan.rows_at(site)[[edit.target for edit in plan.edits]]


def _written(part: Part, site: Site) -> Tensor:
    """The same, or [b, s, k, d] where an edit of a subspace writes another row at each token."""
    plan, rows = part.plan, _rows(part.plan, site)
    if not plan.subspaces:
        return rows
    everywhere = rows.expand(*part.delta.shape[:2], -1, -1).clone()
    for number, edit in enumerate(plan.edits):
        if edit.target >= plan.first_subspace:
            everywhere[..., number, :] = part.reading.parts[edit.target - plan.first_subspace]
    return everywhere


def _own_moves(
    before: Tensor,
    after: Tensor,
    total: Tensor,
    parts: Sequence[Part],
    site: Site,
    stream: Tensor,
    doses: list[Tensor],
) -> list[Tensor]:
    """How far the stream goes because of each edit, [b, s, k] for each part."""
    keeps = all(part.plan.error == "keep" for part in parts)
    if keeps and sum(len(part.plan.edits) for part in parts) == 1:
        return [dose.new_zeros(dose.shape) + stream.unsqueeze(-1) for dose in doses]
    moves = [_without_each(before, after, total, part, site) for part in parts]
    if not keeps:
        return moves
    # Several that are swallowed alone may move the stream together, and none of them alone did it.
    claimed = torch.cat(moves, dim=-1).any(-1)
    asked = torch.cat(doses, dim=-1).sum(-1, keepdim=True)
    shares = torch.where(claimed, 0.0, stream).unsqueeze(-1) / asked.clamp(min=1e-30)
    return [moved + dose * shares for moved, dose in zip(moves, doses, strict=True)]


def _without_each(before: Tensor, after: Tensor, total: Tensor, part: Part, site: Site) -> Tensor:
    """‖after − what the stream would be without the edit‖ of each edit, [b, s, k]."""
    amounts, rows = _amounts(part), _written(part, site)
    scale, n = part.reading.norm.scale, len(part.plan.columns)
    if scale is not None:
        of_features = torch.tensor([e.target < n for e in part.plan.edits], device=rows.device)
        amounts = torch.where(of_features, amounts * scale, amounts)
    count = max(1, _AT_ONCE // max(1, total.numel()))
    moves = []
    for some, written in zip(amounts.split(count, dim=-1), rows.split(count, dim=-2), strict=True):
        own = some.unsqueeze(-1) * written
        left_out = before.unsqueeze(-2) + (total.unsqueeze(-2) - own).to(before.dtype)
        difference = after.unsqueeze(-2).to(total.dtype) - left_out.to(total.dtype)
        moves.append(difference.norm(dim=-1))
    return torch.cat(moves, dim=-1) if moves else amounts


def _record(
    before: Tensor, after: Tensor, part: Part, site: Site, stream: Tensor, dose: Tensor,
    moved: Tensor,
) -> Record:  # fmt: skip
    plan, reading = part.plan, part.reading
    targets = [edit.target for edit in plan.edits]
    dictionary = plan.dictionary
    if plan.site == plan.out and not (dictionary is not None and dictionary.reads_texts):
        live = after.to(plan.dtype)
        features = None if dictionary is None else dictionary.encode(live)[0]
        reached = read_targets(live, features, plan)[..., targets]
    else:
        reached = before.new_full((*before.shape[:2], len(targets)), torch.nan)
    likes = {"touched": stream.bool(), "fired": stream.bool(), "before": stream, "after": stream}
    stacked = {
        name: _stack([getattr(edit, name) for edit in reading.edits], like)
        for name, like in likes.items()
    }
    return Record(
        absolute=reading.span.absolute,
        reached=reached,
        dose=dose,
        norm=before.to(plan.dtype).norm(dim=-1),
        delta_norm=stream,
        asked=dose,
        moved=moved,
        undone=(reading.change[..., targets] == 0) | (stream == 0).unsqueeze(-1),
        wrote=_written(part, site),
        site=str(site.hookpoint),
        **stacked,
    )


def _stack(values: list[Tensor], like: Tensor) -> Tensor:
    """[b, s, k], also for k = 0."""
    return torch.stack(values, dim=-1) if values else like.new_zeros((*like.shape[:2], 0))
