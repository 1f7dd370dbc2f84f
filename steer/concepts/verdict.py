"""Works, weak, or none here: from texts that had no part in choosing the edit."""

from __future__ import annotations

from torch import Tensor

from steer.concepts.dose import VARIED
from steer.concepts.result import Verdict
from steer.concepts.trials import REPORTING, Trial
from steer.maths.statistics import Interval, interval

RISE = 0.4
"""Least rise of the share of texts on topic for `works`."""
COMPARISONS = 2
"""With the untouched model and with random features: the level pays for both."""
LEVEL = 0.95


def over_prompts(values: Tensor, level: float = LEVEL) -> Interval:
    """Mean of values [seeds · prompts], with an interval over the prompts, seeds averaged."""
    return interval(values.double().view(-1, len(REPORTING)).mean(0), level=level)


def verdict(edited: Trial, baseline: Trial, random: Trial, budget: float) -> tuple[Verdict, str]:
    """The verdict and why, in a sentence."""
    level = 1 - (1 - LEVEL) / COMPARISONS
    rise = over_prompts(edited.on_topic - baseline.on_topic, level)
    beyond = over_prompts(edited.on_topic - random.on_topic, level)
    cost = edited.loss_increase.mean().item()
    on, off = (trial.on_topic.mean().item() for trial in (edited, baseline))
    said = f"{on:.0%} of texts are about it, {off:.0%} without the edit"
    if not (rise.low > 0 and beyond.low > 0):
        return "none here", f"{said}: no more than chance or random features may give"
    if cost > budget:
        return "weak", f"{said}, at {cost:.2f} nats a token where {budget:g} were allowed"
    if (varied := edited.variety.mean().item()) < VARIED:
        return "weak", f"{said}, and they repeat themselves: {varied:.0%} of token pairs differ"
    if rise.mean < RISE:
        return "weak", f"{said}"
    return "works", f"{said}, at {cost:.2f} nats a token"
