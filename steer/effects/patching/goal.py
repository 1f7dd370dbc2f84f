"""What a set of patched nodes has to reach: a share of an effect, or a nearness to the target."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from steer.errors import SteerError
from steer.maths.statistics import Interval, interval, ratio_interval


@dataclass(frozen=True, eq=False)
class Goal:
    """pick: from the metric [sets, n] to the goal's measure, [sets]; level: where it is enough.

    better: sign of a change of the measure that comes nearer to the goal; worse: sign of a change
    of the metric that moves away from it.
    """

    text: str
    pick: Callable[[Tensor], Tensor]
    level: float
    better: float
    worse: float
    summary: Callable[[Tensor], Interval]

    def slack(self, values: Tensor) -> Tensor:
        """How much better than needed the metric [sets, n] is, [sets]; below 0 it misses."""
        return self.better * (self.pick(values) - self.level)


def kl_goal(most: float) -> Goal:
    """KL(edited‖target) of at most so many nats."""
    return Goal(
        text=f"KL(edited‖target) <= {most:g} nats",
        pick=lambda values: values.mean(1),
        level=most,
        better=-1.0,
        worse=1.0,
        summary=interval,
    )


def faithful_goal(least: float, ends: Tensor) -> Goal:
    """A faithfulness of at least so much; ends [2, n]: the metric of no node and of all.

    Raises `SteerError` if all nodes together change the metric by less than 0.001.
    """
    none, span = ends[0], ends[1] - ends[0]
    if abs(span.mean().item()) < 1e-3:
        raise SteerError(
            f"all nodes together change the metric by {span.mean().item():.2g}, so a share of that "
            "says nothing; choose prompts or a metric that differ"
        )
    return Goal(
        text=f"faithfulness >= {least:g}",
        pick=lambda values: (values - none).mean(1) / span.mean(),
        level=least,
        better=1.0,
        worse=-1.0 if span.mean() > 0 else 1.0,
        summary=lambda values: ratio_interval(values - none, span),
    )
