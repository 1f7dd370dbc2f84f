"""Doses at which different edits cost a model equally much, so that they can be compared.

The cost is ΔCE: the rise of the loss on neutral text, in nats per token, when the edit acts on it.
It needs no judge, and one unit serves feature edits and directions alike (Chalnev et al. 2024).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dictionaries.dictionary import Dictionary
from steer.edits import Intervention
from steer.effects.metric import Loss, Reference
from steer.effects.passes.changes import edit_delta
from steer.effects.passes.clean import Clean, run_clean
from steer.errors import SteerError
from steer.model import Model

_ROUNDS = 60
Dosed = Callable[[float], Intervention]
"""A dose, 0 or more -> the edit."""


@dataclass(frozen=True)
class MatchedDose:
    """A dose and what it costs, in nats per token, on average over the texts."""

    dose: float
    delta_ce: float


@dataclass(frozen=True)
class _Bracket:
    """A dose that costs too little and one that costs too much, with what they cost."""

    low: tuple[float, float] = (0.0, 0.0)
    high: tuple[float, float] = (math.inf, math.inf)

    def with_point(self, dose: float, cost: float, target: float) -> _Bracket:
        if cost < target:
            return _Bracket((dose, cost), self.high)
        return _Bracket(self.low, (dose, cost))

    def next(self, target: float) -> float:
        """Twice as much while nothing is too much; else between the two, by the power law through
        both where it gives one, and never nearer to an end than a fifth."""
        (low, cheap), (high, dear) = self.low, self.high
        if math.isinf(high):
            return 2 * low
        share = 0.5
        if low > 0 and 0 < cheap < dear:
            place = math.log(target / cheap) / math.log(dear / cheap)
            share = (low * (high / low) ** place - low) / (high - low)
        return low + min(max(share, 0.2), 0.8) * (high - low)


def read_texts(model: Model, texts: Sequence[str], hookpoint: str) -> list[Clean]:
    """Clean passes over the texts, from which edits at the hookpoint resume."""
    site = model.site(hookpoint)
    return [run_clean(model, model.tokenize([text])[0][0], site, every=True) for text in texts]


@torch.inference_mode()
def delta_ce(
    texts: Sequence[Clean],
    interventions: Sequence[Intervention],
    dictionaries: Sequence[Dictionary] = (),
) -> Tensor:
    """ΔCE of each intervention on each text, [interventions, texts]; all in one batch a text.

    Raises `SteerError` for an intervention at another site than the texts were read at.
    """
    model, site = texts[0].model, texts[0].site
    plans = [model.plans([intervention], dictionaries)[0] for intervention in interventions]
    for plan, intervention in zip(plans, interventions, strict=True):
        if plan.site != site or plan.out != site:
            raise SteerError(
                f"{intervention.dictionary} reads {plan.site.hookpoint} and writes "
                f"{plan.out.hookpoint}, and the texts were read at {site.hookpoint}"
            )
    columns = []
    for clean in texts:
        delta = torch.stack([edit_delta(clean, plan)[0] for plan in plans]).to(clean.x.dtype)
        edited = clean.resume(delta, every=True)
        reference = Reference.of(clean.logits, clean.ids, edited.start, every=True)
        columns.append(Loss().change(edited.logits, reference).double().cpu())
    return torch.stack(columns, dim=1)


def match_doses(
    texts: Sequence[Clean],
    edits: Sequence[Dosed],
    target: float,
    *,
    start: float,
    tolerance: float = 0.05,
    dictionaries: Sequence[Dictionary] = (),
) -> list[MatchedDose]:
    """The dose of each edit whose mean ΔCE is `target`, within `tolerance` of it, by safeguarded
    bisection.

    start: a dose to begin with; it is doubled until it costs too much. All edits that are not done
    run together. Raises `SteerError` if no dose does, as when ΔCE jumps past the target.
    """
    if not target > 0 or not start > 0:
        raise SteerError(f"target={target} and start={start} must be above 0")
    brackets = [_Bracket() for _ in edits]
    tried = [start] * len(edits)
    matched: dict[int, MatchedDose] = {}
    for _ in range(_ROUNDS):
        open_ = [i for i in range(len(edits)) if i not in matched]
        if not open_:
            return [matched[i] for i in range(len(edits))]
        costs = delta_ce(texts, [edits[i](tried[i]) for i in open_], dictionaries).mean(1).tolist()
        for i, cost in zip(open_, costs, strict=True):
            if abs(cost - target) <= tolerance * target:
                matched[i] = MatchedDose(tried[i], cost)
            brackets[i] = brackets[i].with_point(tried[i], cost, target)
            tried[i] = brackets[i].next(target)
    stuck = open_[0]
    low, high = brackets[stuck].low[0], brackets[stuck].high[0]
    between = f"between {low:.4g} and {high:.4g} it jumps past"
    never = f"even {low:.3g} costs less"
    raise SteerError(
        f"no dose of {edits[stuck](start).edits} costs {target} nats within {tolerance:.0%}: "
        f"{never if math.isinf(high) else between}"
    )
