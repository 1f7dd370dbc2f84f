"""Edits of one site that take back what another adds there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

_HALF = 0.5
"""An edit of whose move along itself less than this is left is cancelled."""
_NAMED = 3
"""So many of those that cancel an edit are named."""


@dataclass(frozen=True, eq=False)
class Share:
    """What one edit had in the move of a site over t tokens.

    wrote [d], or [t, d] where it differs by token: what a unit of it writes.
    asked [t]: norm of what it adds, negative where it lowers.
    moved, stream [t]: norm of what the stream moved because of it, and because of all.
    """

    name: str
    site: str
    wrote: Tensor
    asked: Tensor
    moved: Tensor
    stream: Tensor


@dataclass(frozen=True)
class Cancelled:
    """by: names of the edits that take it back, the one that takes most first.

    tokens: at how many; own, stream: mean norm of its own move there, and of the stream's.
    """

    by: tuple[str, ...]
    tokens: int
    own: float
    stream: float

    @property
    def left(self) -> float:
        """The stream's move as a share of the edit's own."""
        return self.stream / self.own if self.own else 0.0

    @property
    def told(self) -> str:
        more = f" and {len(self.by) - _NAMED} more" if len(self.by) > _NAMED else ""
        tokens = "1 token" if self.tokens == 1 else f"{self.tokens} tokens"
        return (
            f"cancelled by {', '.join(self.by[:_NAMED])}{more} at {tokens}: alone it moves the "
            f"stream by {self.own:.3g}, with them it moves by {self.stream:.3g}"
        )


def cancelled(shares: Sequence[Share]) -> list[Cancelled | None]:
    """For each edit, what others at its site do to it; None where they leave most of it."""
    cancellations: list[Cancelled | None] = [None] * len(shares)
    for site in dict.fromkeys(share.site for share in shares):
        here = [number for number, share in enumerate(shares) if share.site == site]
        if len(here) > 1:
            at_site = _at_site([shares[number] for number in here])
            for number, others in zip(here, at_site, strict=True):
                cancellations[number] = others
    return cancellations


def _at_site(shares: Sequence[Share]) -> list[Cancelled | None]:
    wrote = torch.stack(torch.broadcast_tensors(*[share.wrote for share in shares]), dim=-2)
    units = wrote / wrote.norm(dim=-1, keepdim=True).clamp(min=1e-30)
    asked = torch.stack([share.asked for share in shares], dim=-1)
    cosines = units @ units.mT
    cosines.diagonal(dim1=-2, dim2=-1).fill_(1.0)  # also of a row of zeros
    # What all of them add along each one's own direction.
    along = (asked.unsqueeze(-2) @ cosines).squeeze(-2) * asked.sign()
    taken = (along < _HALF * asked.abs()) & (asked != 0)
    return [
        _by_others(shares, number, at, asked, cosines[..., number]) if at.any() else None
        for number, at in enumerate(taken.T)
    ]


def _by_others(
    shares: Sequence[Share], number: int, at: Tensor, asked: Tensor, cosines: Tensor
) -> Cancelled:
    here = cosines[at] if cosines.dim() == 2 else cosines
    pull = (asked[at, number, None] * asked[at] * here).sum(0)
    order = [int(i) for i in pull.argsort() if i != number and pull[i] < 0]
    share = shares[number]
    return Cancelled(
        by=tuple(shares[i].name for i in order),
        tokens=int(at.sum()),
        own=share.moved[at].mean().item(),
        stream=share.stream[at].mean().item(),
    )
