"""Every arm at one price: scaled until it costs the cross-entropy that the edit costs.

The price is ΔCE on neutral text. A random direction of the edit's norm may cost more or less than
it, and then comparing the two says how far each moved and not what it does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from steer.effects.metric import Loss, Reference
from steer.effects.passes.clean import Clean, Edited
from steer.verdicts.arms import Arms, Text
from steer.verdicts.protocol import Protocol

_STEPS = 7


@dataclass(frozen=True, eq=False)
class Prices:
    """scales, costs [arms]: of each arm, in nats a token; the edit is the first, at scale 1.

    by_norm: whether the edit costs too little to be met, so that arms have its norm instead.
    """

    scales: Tensor
    costs: Tensor
    by_norm: bool
    tolerance: float

    @property
    def edit(self) -> float:
        return self.costs[0].item()

    @property
    def met(self) -> Tensor:
        """Which arms cost what the edit costs, within the tolerance, [arms]; none at equal norm."""
        near = (self.costs - self.edit).abs() <= self.tolerance * abs(self.edit)
        return near & (not self.by_norm)


def prices(arms: Arms) -> Prices:
    """Bring all arms to the edit's cost on the protocol's neutral texts."""
    protocol = arms.protocol
    texts = [arms.text(text, every=True) for text in protocol.neutral]

    def costs(members: Sequence[int], scales: Tensor) -> Tensor:
        return torch.stack([_cost(text, members, scales) for text in texts]).mean(0)

    return match(costs, len(arms.names), protocol)


def match(
    costs: Callable[[Sequence[int], Tensor], Tensor], arms: int, protocol: Protocol
) -> Prices:
    """costs: of some arms, given the scales of all. See `Prices`.

    Cost grows about as the square of a scale, so that each step is by the root of what is missing;
    from a bracket on, by its middle. An arm that no allowed scale brings there keeps the nearest.
    """
    tried = torch.ones(arms, dtype=torch.float64)
    last = costs(range(arms), tried).double().cpu()
    target, most = last[0].item(), protocol.most_scale
    nearest, price = tried.clone(), last.clone()
    if target < protocol.least_cost:
        return Prices(nearest, price, True, protocol.tolerance)
    below, above = tried / most, tried * most
    for _ in range(_STEPS):
        off = (price - target).abs() > target * protocol.tolerance / 2
        waiting = off.nonzero().flatten().tolist()
        if not waiting:
            break
        cheap = (last < target) & off
        below, above = torch.where(cheap, tried, below), torch.where(cheap, above, tried)
        wanted = tried * (target / last.clamp(min=target / 16)).sqrt()
        outside = (wanted <= below) | (wanted >= above)
        step = torch.where(outside, (below * above).sqrt(), wanted)
        tried = torch.where(off, step, tried)
        last = last.clone()
        last[waiting] = costs(waiting, tried).double().cpu()
        nearer = (last - target).abs() < (price - target).abs()
        nearest, price = torch.where(nearer, tried, nearest), torch.where(nearer, last, price)
    return Prices(nearest, price, False, protocol.tolerance)


def _cost(text: Text, members: Sequence[int], scales: Tensor) -> Tensor:
    """ΔCE of arms on a text, [arms]."""

    def rise(edited: Edited, clean: Clean) -> Tensor:
        return Loss().change(
            edited.logits, Reference.of(clean.logits, clean.ids, edited.start, every=True)
        )

    return text.measured(members, scales, rise, every=True)
