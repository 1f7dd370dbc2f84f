"""The edit beside each control: by how much it is better, with an interval that pays for all."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from torch import Tensor

from steer.maths.statistics import Interval, interval, student_quantile
from steer.verdicts.arms import Arms
from steer.verdicts.cost import Prices
from steer.verdicts.measure import Lost, Measured
from steer.verdicts.protocol import (
    ARMS,
    ASKING,
    DENSITY,
    FROZEN,
    RANDOM,
    Protocol,
)

_RESAMPLES = 10_000


@dataclass(frozen=True)
class Comparison:
    """A control, and how much better the edit is, in logits.

    effect: of the control, a mean over its draws; bound: what one more draw would stay under, at
    the level of each comparison; None where there is no distribution of draws.
    advantage: the edit minus the bound, or minus the control's effect; over prompts, at that level.
    scale, cost, met: means over the draws, and the share of them that cost what the edit costs;
    None for a prompt that asks.
    """

    control: str
    effect: Interval
    bound: float | None
    advantage: Interval
    draws: int
    decisive: bool
    scale: float | None = None
    cost: float | None = None
    met: float | None = None

    @property
    def better(self) -> bool:
        """Whether the edit is better than this, beyond the level of error."""
        return self.advantage.low > 0


@dataclass(frozen=True)
class Effect:
    """What the edit does to its claim, in logits, over n prompts whose wordings are averaged.

    wordings: of each wording alone; at the level of each comparison, as `whole` is.
    wrong_way: the share of texts on which the difference fell; cost: ΔCE in nats a token.
    """

    whole: Interval
    wordings: Mapping[str, Interval]
    wrong_way: float
    cost: float


@dataclass(frozen=True)
class Harm:
    """A behaviour beside the claim: how far right is before wrong, and what the edit takes of it.

    excess: the loss beyond what a random direction would take at the bound, in logits.
    """

    behaviour: str
    clean: float
    lost: Interval
    bound: float
    excess: Interval
    harmed: bool


def effect_of(measured: Measured, prices: Prices, protocol: Protocol) -> Effect:
    edit = measured.arms[..., 0]
    return Effect(
        whole=over_prompts(edit.mean(1), protocol),
        wordings={
            name: over_prompts(edit[:, number], protocol)
            for number, name in enumerate(protocol.wordings)
        },
        wrong_way=(edit < 0).double().mean().item(),
        cost=prices.edit,
    )


def comparisons(arms: Arms, measured: Measured, prices: Prices) -> Iterator[Comparison]:
    """One a control that there is, in the order of `ARMS`."""
    protocol = arms.protocol
    edit = measured.arms[..., 0].mean(1)
    for control in ARMS:
        if control == ASKING:
            values = measured.asking.mean(1, keepdim=True)
            yield _compared(control, edit, values, protocol)
        elif places := arms.numbered(control):
            yield _compared(
                control,
                edit,
                measured.arms[..., places].mean(1),
                protocol,
                scale=prices.scales[places].mean().item(),
                cost=prices.costs[places].mean().item(),
                met=prices.met[places].double().mean().item(),
            )


def harms(measured: Measured, protocol: Protocol) -> Iterator[Harm]:
    """One a behaviour that could be tested."""
    for name, lost in measured.lost.items():
        yield _harm(name, lost, protocol)


def _harm(name: str, lost: Lost, protocol: Protocol) -> Harm:
    bound, beyond = _beyond(lost.edit, lost.random, protocol)
    clean, whole = lost.clean.mean().item(), over_prompts(lost.edit, protocol)
    harmed = beyond.low > 0 and whole.mean > protocol.harm * clean
    return Harm(name, clean, whole, bound, beyond, harmed)


def _compared(
    control: str, edit: Tensor, values: Tensor, protocol: Protocol, **priced: float
) -> Comparison:
    """edit [n] beside the values [n, draws] of one control."""
    draws, effect = values.shape[1], over_prompts(values.mean(1), protocol)
    bound: float | None = None
    if control in (RANDOM, DENSITY, FROZEN) and draws > 1:
        bound, advantage = _beyond(edit, values, protocol)
    else:
        advantage = over_prompts(edit - values.mean(1), protocol)
    decisive = control in protocol.decisive
    return Comparison(control, effect, bound, advantage, draws, decisive, **priced)


def _beyond(edit: Tensor, values: Tensor, protocol: Protocol) -> tuple[float, Interval]:
    """The bound of one more draw, and how far edit [n] is beyond that of values [n, draws].

    The draws are few, so the bound is that of a t prediction: mean + t · s · √(1 + 1/draws). The
    differences are paired by prompt, and their interval is over prompts.
    """
    draws = values.shape[1]
    spread = values.mean(0).std().item()
    t = student_quantile(1 - protocol.each, draws - 1)
    margin = t * spread * math.sqrt(1 + 1 / draws)
    bound = values.mean().item() + margin
    return bound, over_prompts(edit - values.mean(1) - margin, protocol)


def over_prompts(values: Tensor, protocol: Protocol) -> Interval:
    """Mean of values [n] with an interval each of whose sides errs at the level of a comparison."""
    level = 1 - 2 * protocol.each
    return interval(values, level=level, resamples=_RESAMPLES, seed=protocol.seed)
