"""The fewest features that do it: a prefix of a ranking, then without what is not needed.

The ranking is an estimate; every set here is measured exactly before it is believed. Leaving out
the one feature whose absence hurts least, and measuring each of the others again, takes a number of
runs that grows with the square of the set. Here a gradient at the set itself says which features
are likely to hurt least, only those are measured one by one, and several are left out at once. When
no more go that way, the set is measured without each of its features, which also shows that none
is left to go.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from steer.effects.defaults import BUDGET
from steer.effects.passes.batches import Set
from steer.effects.patching.curve import default_counts
from steer.effects.patching.goal import Goal, faithful_goal, kl_goal
from steer.effects.patching.patchable import Patchable
from steer.effects.patching.patching import set_values
from steer.effects.patching.ranking import Metrics, check_some, left_out, rank
from steer.errors import SteerError
from steer.maths.statistics import Interval
from steer.progress import Progress

_TRIED = 8
"""Numbers of nodes that are tried together."""
_LIKELY = 24
"""Nodes that are measured alone before a step: those that hurt least by the gradient; of a set that
is at most twice as large, all are."""
_SHARE = 8
"""A step leaves out one node in so many at most: its order is that of the set before the step."""


@dataclass(frozen=True, repr=False)
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

    def __repr__(self) -> str:
        shown = ", ".join(map(str, self.nodes[:10])) + (", …" if len(self.nodes) > 10 else "")
        return (
            f"MinimalSet: {len(self.nodes)} nodes of {self.dictionary} reach {self.goal}: {shown}\n"
            f"measured {self.value}; {self.prefix} of the ranking reached it; {self.measured} sets"
        )

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

    faithfulness: at least this much (of the metric, see `steer.faithfulness`);
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
    nodes = tuple(order[:prefix])

    def told(left: int, done: int) -> None:
        if progress:
            what = f"leaving out features: {left} of {prefix} left"
            progress(what, done, max(prefix, 1))

    told(prefix, 0)
    for fewer in _pruned(run, goal, nodes) if prune else ():
        nodes = fewer
        told(len(nodes), prefix - len(nodes))
    without = goal.pick(run(_each_out(nodes, range(len(nodes))))) if nodes else torch.zeros(0)
    told(len(nodes), prefix)
    return MinimalSet(
        nodes=nodes,
        value=goal.summary(run([nodes])[0]),
        without=tuple(without.tolist()),
        prefix=prefix,
        measured=run.measured,
        goal=goal.text,
        dictionary=pairs[0].dictionary,
    )


class _Run:
    """Values [sets, n] of sets, each run once, and how many were run."""

    def __init__(self, pairs: Sequence[Patchable], metric: Metrics, budget: int) -> None:
        self.pairs, self.metric, self.budget = pairs, metric, budget
        self._known: dict[frozenset[int], Tensor] = {}

    @property
    def measured(self) -> int:
        return len(self._known)

    def __call__(self, sets: Sequence[Set]) -> Tensor:
        keys = [frozenset(nodes) for nodes in sets]
        new = {key: nodes for key, nodes in zip(keys, sets, strict=True) if key not in self._known}
        if new:
            values = set_values(self.pairs, list(new.values()), self.metric, budget=self.budget)
            self._known |= dict(zip(new, values, strict=True))
        return torch.stack([self._known[key] for key in keys])


def _prefix(order: Sequence[int], run: _Run, goal: Goal) -> int:
    """How many nodes of the order reach the goal while one fewer do not, by bisection."""
    counts = list(default_counts(len(order)))
    values = run([order[:count] for count in counts])
    picked, met = goal.pick(values), goal.slack(values) >= 0
    if not met.any():
        best = int((picked * goal.better).argmax())
        raise SteerError(
            f"the goal {goal.text} is not reached by any of {len(counts)} prefixes of the "
            f"{len(order)} ranked nodes: the best, of {counts[best]}, gives {picked[best]:.3g}, "
            f"and all together {picked[-1]:.3g}; ask for less, or patch the error too "
            "(error='patch')"
        )
    low, high = _around(counts, met, -1)
    while high - low > 1:
        inside = _spread(low + 1, high - 1, _TRIED)
        met = goal.slack(run([order[:count] for count in inside])) >= 0
        low, high = _around([*inside, high], torch.cat([met, met.new_ones(1)]), low)
    return high


def _around(counts: Sequence[int], met: Tensor, below: int) -> tuple[int, int]:
    """The first count that meets the goal, after the one before it."""
    first = int(met.int().argmax())
    return (counts[first - 1] if first else below), counts[first]


def _pruned(run: _Run, goal: Goal, nodes: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    """Smaller and smaller sets that reach the goal, until no node of the last can be left out."""
    helps = True
    while nodes:
        places = list(range(len(nodes)))
        guessing = helps and len(nodes) > 2 * _LIKELY
        if guessing:
            places = (left_out(run.pairs, nodes, run.metric) * goal.worse).argsort().tolist()
            places = places[:_LIKELY]
        alone = goal.slack(run(_each_out(nodes, places)))
        order = [places[number] for number in (-alone).argsort(stable=True).tolist()]
        fewer = _step(nodes, order, run, goal)
        if len(fewer) < len(nodes):
            yield fewer
        elif not guessing:
            return
        helps, nodes = helps and len(fewer) < len(nodes), fewer


def _step(nodes: tuple[int, ...], order: Sequence[int], run: _Run, goal: Goal) -> tuple[int, ...]:
    """The nodes without the first few of the order; all of them if none can be left out.

    As many go as leave half of the slack, so that the rest is spent in a better order, or else as
    many as can be left out.
    """
    counts = _spread(1, max(1, min(len(nodes) // _SHARE, len(order))), _TRIED)
    now, *left = goal.slack(run([nodes, *(_less(nodes, order[:n]) for n in counts)])).tolist()
    for least in (now / 2, 0.0):
        if enough := [count for count, slack in zip(counts, left, strict=True) if slack >= least]:
            return _less(nodes, order[: max(enough)])
    return nodes


def _less(nodes: tuple[int, ...], places: Sequence[int]) -> tuple[int, ...]:
    gone = set(places)
    return tuple(node for place, node in enumerate(nodes) if place not in gone)


def _spread(first: int, last: int, most: int) -> list[int]:
    """At most so many whole numbers from first to last, evenly, both of them there."""
    return sorted({round(count) for count in torch.linspace(first, last, most).tolist()})


def _each_out(nodes: tuple[int, ...], places: Sequence[int]) -> list[Set]:
    return [_less(nodes, [place]) for place in places]


def _all(pairs: Sequence[Patchable]) -> Set:
    return sorted({node for pair in pairs for node in pair.nodes})
