"""The fewest features that do it: a ranking's shortest prefix, then without what is not needed.

The ranking is an estimate; every set here is measured exactly before it is believed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from steer.effects.patchable import Patchable
from steer.effects.patching import set_values
from steer.effects.ranking import Metrics, rank
from steer.effects.rows import Set
from steer.effects.statistics import Interval, interval, ratio_interval
from steer.effects.sweep import BUDGET
from steer.errors import SteerError

_BATCH = 32
"""Prefixes measured before the goal is looked at again."""


@dataclass(frozen=True)
class MinimalSet:
    """A set of nodes that reaches the goal, and of which none can be left out.

    nodes: best first. value: the goal's measure of the set: its faithfulness, or its KL in nats.
    without: that measure, the mean over the pairs, with each node left out, in the same order.
    prefix: how many nodes of the ranking first reached the goal, before any was left out.
    measured: how many sets were run on each pair.
    """

    nodes: tuple[int, ...]
    value: Interval
    without: tuple[float, ...]
    prefix: int
    measured: int
    goal: str
    dictionary: str

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for JSON: NaN bounds become None."""
        value = {k: None if v != v else v for k, v in asdict(self.value).items()}
        return {**asdict(self), "value": value}


@dataclass(frozen=True, eq=False)
class _Goal:
    """pick: from values [sets, n] to the measure, [sets]; met: whether a measure is enough."""

    text: str
    pick: Callable[[Tensor], Tensor]
    met: Callable[[Tensor], Tensor]
    better: float
    summary: Callable[[Tensor], Interval]


def minimal_set(
    pairs: Sequence[Patchable],
    ranking: Sequence[int] | str = "ig",
    *,
    faithfulness: float | None = None,
    kl: float | None = None,
    metric: Metrics = "kl",
    prune: bool = True,
    budget: int = BUDGET,
) -> MinimalSet:
    """The shortest prefix of the ranking that reaches the goal, and what of it is needed.

    faithfulness: at least this much (of the metric, see `steer.effects.patching.faithfulness`);
        or kl: KL(edited‖target) of at most so many nats. Exactly one of them.
    prune: leave out, one at a time, the node whose absence hurts least, while the goal is met.

    Raises `SteerError` for no goal or two, a goal that all nodes together miss, or a metric that
    does not differ between base and target.
    """
    if (faithfulness is None) == (kl is None):
        raise SteerError("give one goal: faithfulness=0.9, or kl=0.1")
    measured = "kl" if kl is not None else metric
    order = rank(pairs, ranking, metric=measured) if isinstance(ranking, str) else list(ranking)

    def values(sets: Sequence[Set]) -> Tensor:
        return set_values(pairs, sets, measured, budget=budget)

    goal = (
        _kl_goal(kl)
        if kl is not None
        else _faithful(faithfulness or 0.0, values([(), *_all(pairs)]))
    )
    prefix, tested = _prefix(order, values, goal)
    nodes = tuple(order[:prefix])
    without = goal.pick(values(_left_out(nodes))) if nodes else torch.zeros(0)
    tested += len(nodes)
    while prune and len(nodes) and goal.met(without).any():
        best = int((goal.better * without).argmax())
        nodes = nodes[:best] + nodes[best + 1 :]
        without = goal.pick(values(_left_out(nodes))) if nodes else torch.zeros(0)
        tested += len(nodes)
    return MinimalSet(
        nodes=nodes,
        value=goal.summary(values([nodes])[0]),
        without=tuple(without.tolist()),
        prefix=prefix,
        measured=tested + 1,
        goal=goal.text,
        dictionary=pairs[0].dictionary,
    )


def _prefix(
    order: Sequence[int], values: Callable[[Sequence[Set]], Tensor], goal: _Goal
) -> tuple[int, int]:
    """How many nodes of the order reach the goal, and how many sets were measured for it."""
    for start in range(0, len(order) + 1, _BATCH):
        counts = range(start, min(start + _BATCH, len(order) + 1))
        found = goal.pick(values([order[:count] for count in counts]))
        if goal.met(found).any():
            return counts[int(goal.met(found).int().argmax())], counts[-1] + 1
    reached = goal.pick(values([order]))[0].item()
    raise SteerError(
        f"the goal {goal.text} is not reached by any prefix of the {len(order)} ranked nodes, "
        f"which together give {reached:.3g}; ask for less, or patch the error too (error='patch')"
    )


def _kl_goal(most: float) -> _Goal:
    return _Goal(
        text=f"KL(edited‖target) <= {most:g} nats",
        pick=lambda values: values.mean(1),
        met=lambda found: found <= most,
        better=-1.0,
        summary=interval,
    )


def _faithful(least: float, ends: Tensor) -> _Goal:
    """ends [2, n]: the metric of no node and of all."""
    none, span = ends[0], ends[1] - ends[0]
    if abs(span.mean().item()) < 1e-3:
        raise SteerError(
            f"all nodes together change the metric by {span.mean().item():.2g}, so a share of that "
            "says nothing; choose prompts or a metric that differ"
        )
    return _Goal(
        text=f"faithfulness >= {least:g}",
        pick=lambda values: (values - none).mean(1) / span.mean(),
        met=lambda found: found >= least,
        better=1.0,
        summary=lambda values: ratio_interval(values - none, span),
    )


def _all(pairs: Sequence[Patchable]) -> list[Set]:
    return [sorted({node for pair in pairs for node in pair.nodes})]


def _left_out(nodes: tuple[int, ...]) -> list[Set]:
    return [nodes[:i] + nodes[i + 1 :] for i in range(len(nodes))]
