"""The fewest features that do it: a prefix of a ranking, then without what is not needed.

The ranking is an estimate; every set here is measured exactly before it is believed. Leaving out
one feature at a time would take a number of runs that grows with the square of the set. Here a
quarter of the set at most is left out at once, those whose absence hurts least: first by a gradient
at the set itself, one for each step; then, where the gradient can't say what to leave out, by
measuring the set without each of its features, which also shows that none is left to go.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from steer.cache import Progress
from steer.effects.curve import default_counts
from steer.effects.goal import Goal, faithful_goal, kl_goal
from steer.effects.patchable import Patchable
from steer.effects.patching import set_values
from steer.effects.ranking import Metrics, check_some, left_out, rank
from steer.effects.rows import Set
from steer.effects.statistics import Interval
from steer.effects.sweep import BUDGET
from steer.errors import SteerError

_AT_ONCE = 16
"""Numbers of nodes that are tried together."""
_SHARE = 4
"""A step leaves out one node in so many at most: its order is that of the set before the step."""


@dataclass(frozen=True)
class MinimalSet:
    """A set of nodes that reaches the goal, and of which none can be left out.

    nodes: best first. value: the goal's measure of the set: its faithfulness, or its KL in nats.
    without: that measure, the mean over the pairs, with each node left out, in the same order.
    prefix: how many nodes of the ranking reached the goal, one fewer not, before any was left out.
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


def minimal_set(
    pairs: Sequence[Patchable],
    ranking: Sequence[int] | str = "ig",
    *,
    faithfulness: float | None = None,
    kl: float | None = None,
    metric: Metrics = "kl",
    prune: bool = True,
    budget: int = BUDGET,
    progress: Progress | None = None,
) -> MinimalSet:
    """A short prefix of the ranking that reaches the goal, and what of it is needed.

    faithfulness: at least this much (of the metric, see `steer.effects.patching.faithfulness`);
        or kl: KL(edited‖target) of at most so many nats. Exactly one of them.
    prune: leave out nodes, those whose absence hurts least first, until none can be left out.

    Raises `SteerError` for no goal or two, a metric that does not differ between base and target,
    and, before anything is left out, for a goal that is missed by all nodes together and by about
    two dozen shorter prefixes.
    """
    if (faithfulness is None) == (kl is None):
        raise SteerError("give one goal: faithfulness=0.9, or kl=0.1")
    check_some(pairs)
    used = "kl" if kl is not None else metric
    order = rank(pairs, ranking, metric=used) if isinstance(ranking, str) else list(ranking)
    run = _Run(pairs, used, budget)
    goal = (
        kl_goal(kl)
        if kl is not None
        else faithful_goal(faithfulness or 0.0, run([(), _all(pairs)]))
    )
    prefix = _prefix(order, run, goal)
    nodes, without = tuple(order[:prefix]), torch.zeros(0)

    def told(nodes: Sequence[int], done: bool = False) -> None:
        if progress:
            what = f"leaving out features: {len(nodes)} of {prefix} left"
            progress(what, prefix if done else prefix - len(nodes), max(prefix, 1))

    told(nodes)
    while prune and (fewer := _estimated(pairs, nodes, run, goal)) != nodes:
        nodes = fewer
        told(nodes)
    while nodes:
        values = run(_each_out(nodes))
        without = goal.pick(values)
        if not prune or not goal.met(without).any():
            break
        nodes = _measured(nodes, values.mean(1), run, goal)
        told(nodes)
    told(nodes, done=True)
    return MinimalSet(
        nodes=nodes,
        value=goal.summary(run([nodes])[0]),
        without=tuple(without.tolist()) if nodes else (),
        prefix=prefix,
        measured=run.measured,
        goal=goal.text,
        dictionary=pairs[0].dictionary,
    )


class _Run:
    """Values [sets, n] of sets, and how many were run."""

    def __init__(self, pairs: Sequence[Patchable], metric: Metrics, budget: int) -> None:
        self.pairs, self.metric, self.budget, self.measured = pairs, metric, budget, 0

    def __call__(self, sets: Sequence[Set]) -> Tensor:
        self.measured += len(sets)
        return set_values(self.pairs, sets, self.metric, budget=self.budget)


def _prefix(order: Sequence[int], run: _Run, goal: Goal) -> int:
    """How many nodes of the order reach the goal while one fewer do not, by bisection."""
    counts = list(default_counts(len(order)))
    found = goal.pick(run([order[:count] for count in counts]))
    if not goal.met(found).any():
        best = int((found * goal.better).argmax())
        raise SteerError(
            f"the goal {goal.text} is not reached by any of {len(counts)} prefixes of the "
            f"{len(order)} ranked nodes: the best, of {counts[best]}, gives {found[best]:.3g}, and "
            f"all together {found[-1]:.3g}; ask for less, or patch the error too (error='patch')"
        )
    low, high = _around(counts, goal.met(found), -1)
    while high - low > 1:
        inside = _spread(low + 1, high - 1)
        met = goal.met(goal.pick(run([order[:count] for count in inside])))
        low, high = _around([*inside, high], torch.cat([met, met.new_ones(1)]), low)
    return high


def _around(counts: Sequence[int], met: Tensor, below: int) -> tuple[int, int]:
    """The first count that meets the goal, after the one before it."""
    first = int(met.int().argmax())
    return (counts[first - 1] if first else below), counts[first]


def _estimated(
    pairs: Sequence[Patchable], nodes: tuple[int, ...], run: _Run, goal: Goal
) -> tuple[int, ...]:
    """The nodes without some that hurt least by the gradient; all of them if that is none."""
    if not nodes:
        return nodes
    order = (left_out(pairs, nodes, run.metric) * goal.worse).argsort(stable=True)
    return _without(nodes, order.tolist(), run, goal)


def _measured(nodes: tuple[int, ...], alone: Tensor, run: _Run, goal: Goal) -> tuple[int, ...]:
    """The nodes without some of those that can be left out; alone: the metric without each."""
    order = (alone * goal.worse).argsort(stable=True).tolist()
    # The last bits of a value depend on its batch: the first is known to be dispensable.
    return _without(nodes, order, run, goal, known=1)


def _without(
    nodes: tuple[int, ...], order: Sequence[int], run: _Run, goal: Goal, known: int = 0
) -> tuple[int, ...]:
    """The nodes without the longest run of the order that can be left out; known: so many can."""
    counts = _spread(1, max(1, len(nodes) // _SHARE))
    met = goal.met(goal.pick(run([_less(nodes, order[:count]) for count in counts])))
    most = max([known, *(count for count, enough in zip(counts, met, strict=True) if enough)])
    return _less(nodes, order[:most])


def _less(nodes: tuple[int, ...], places: Sequence[int]) -> tuple[int, ...]:
    gone = set(places)
    return tuple(node for place, node in enumerate(nodes) if place not in gone)


def _spread(first: int, last: int) -> list[int]:
    """Whole numbers from first to last, both there, evenly and not more than are tried at once."""
    return sorted({round(each) for each in torch.linspace(first, last, _AT_ONCE).tolist()})


def _each_out(nodes: tuple[int, ...]) -> list[Set]:
    return [_less(nodes, [place]) for place in range(len(nodes))]


def _all(pairs: Sequence[Patchable]) -> Set:
    return sorted({node for pair in pairs for node in pair.nodes})
