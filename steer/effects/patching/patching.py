"""Which features carry what two prompts differ in: patch sets of them and see how far that goes.

    pairs = prompt_pairs(model, bases, targets, dictionary)
    ranking = rank(pairs)                                # best first, by integrated gradients
    curve = patch_curve(pairs, ranking)                  # KL(edited‖target) against the number
    faithfulness(pairs, ranking[:10], LogitDifference(" Mary", " John"))

The same code takes any dictionary, so that principal components, neurons and random directions
(`dictionaries.baselines`) give the curves to compare with.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from steer.effects.defaults import BUDGET
from steer.effects.metric import Metric
from steer.effects.passes.batches import Set
from steer.effects.patching.curve import Curve, default_counts
from steer.effects.patching.patchable import ERROR, Patchable
from steer.effects.patching.prompt_pairs import against_null, prompt_pairs
from steer.effects.patching.ranking import Metrics, check_some, each_metric, rank, scores
from steer.effects.sweep.result import Sweep
from steer.errors import SteerError
from steer.maths.statistics import Interval, ratio_interval
from steer.progress import Progress


def patch_curve(
    pairs: Sequence[Patchable],
    ranking: Sequence[int] | Sequence[Sequence[int]] | str = "ig",
    *,
    counts: Sequence[int] | None = None,
    metric: Metrics = "kl",
    seed: int = 0,
    budget: int = BUDGET,
    progress: Progress | None = None,
) -> Curve:
    """The metric with the first 0, 1, 2, ... nodes of a ranking patched, on each pair.

    ranking: nodes, best first; one for all pairs, one each, or how to find one, see `rank`.
    counts: how many nodes; by default 0, and about two dozen numbers up to all.

    Raises `SteerError` for no pairs, an unknown ranking or a node that does not exist.
    """
    check_some(pairs)
    name = ranking if isinstance(ranking, str) else "given"
    order = rank(pairs, ranking, metric=metric, seed=seed) if isinstance(ranking, str) else ranking
    rankings = _each(order, len(pairs))
    grid = tuple(sorted(set(counts or default_counts(max(len(order) for order in rankings)))))
    if grid[0] < 0:
        raise SteerError(f"counts hold {grid[0]}; they must be 0 or more")
    values, norms = [], []
    for number, (pair, nodes, measure) in enumerate(_with(pairs, rankings, metric)):
        sets = [nodes[:count] for count in grid]
        values.append(pair.values(sets, measure, budget=budget))
        norms.append(pair.norms(sets))
        if progress:
            progress("patching", number + 1, len(pairs))
    return Curve(
        counts=grid,
        value=torch.stack(values, dim=1),
        norm=torch.stack(norms, dim=1),
        dictionary=pairs[0].dictionary,
        ranking=name,
        metric=_name(metric),
        error=pairs[0].error,
    )


def node_effects(
    pairs: Sequence[Patchable], metric: Metrics = "kl", *, budget: int = BUDGET
) -> Sweep:
    """The exact effect of patching each node alone: the metric with it minus that of the base.

    A node that does not differ has no row, and its effect is exactly 0. The error's row, if it is
    a node, is `ERROR`.
    """
    check_some(pairs)
    rows = []
    for number, (pair, measure) in enumerate(
        zip(pairs, each_metric(metric, len(pairs)), strict=True)
    ):
        sets: list[Set] = [(), *((node,) for node in pair.nodes)]
        none, *values = pair.values(sets, measure, budget=budget).tolist()
        moved = [*pair.moved.abs().amax(0).tolist(), 0.0]
        tokens = [*(pair.moved != 0).sum(0).tolist(), 0]
        for place, node in enumerate(pair.nodes):
            norm = pair.patch([(node,)])[0].norm().item()
            rows.append(
                {
                    "prompt": number,
                    "feature": node,
                    "effect": values[place] - none,
                    "activation": moved[place],
                    "tokens": tokens[place],
                    "norm": norm,
                }
            )
    texts = tuple(pair.target for pair in pairs)
    dtype = pairs[0].clean.model.precision
    name, error = pairs[0].dictionary, pairs[0].error
    return Sweep(tuple(rows), texts, name, _name(metric), "patch", dtype, error=error)


def set_values(
    pairs: Sequence[Patchable],
    sets: Sequence[Set],
    metric: Metrics = "kl",
    *,
    budget: int = BUDGET,
) -> Tensor:
    """The metric with each of the sets patched on each pair, [sets, n]."""
    check_some(pairs)
    measures = each_metric(metric, len(pairs))
    values = [p.values(sets, m, budget=budget) for p, m in zip(pairs, measures, strict=True)]
    return torch.stack(values, dim=1)


def set_norms(pairs: Sequence[Patchable], sets: Sequence[Set]) -> Tensor:
    """Mean over the positions of the ‖Δx‖ of each set on each pair, [sets, n]."""
    return torch.stack([pair.norms(sets) for pair in pairs], dim=1)


def faithfulness(
    pairs: Sequence[Patchable],
    chosen: Set | Sequence[Set],
    metric: Metrics = "kl",
    *,
    least: float = 1e-3,
    budget: int = BUDGET,
) -> Interval:
    """How much of the metric's difference between base and target a set of nodes explains.

    (m(F) − m(∅)) / (m(all) − m(∅)), the means over the pairs of each first: 1 for all nodes, 0 for
    none (Marks et al. 2025, section 3.3). Its interval is over the pairs.

    chosen: one set for all pairs, or one each.

    Raises `SteerError` if |m(all) − m(∅)| is less than `least`: then the ratio says nothing.
    """
    return _ratio(pairs, chosen, metric, least, budget, without=False)


def completeness(
    pairs: Sequence[Patchable],
    chosen: Set | Sequence[Set],
    metric: Metrics = "kl",
    *,
    least: float = 1e-3,
    budget: int = BUDGET,
) -> Interval:
    """Faithfulness of all nodes but the set: near 0 if nothing outside it does its work too."""
    return _ratio(pairs, chosen, metric, least, budget, without=True)


def _ratio(
    pairs: Sequence[Patchable],
    chosen: Set | Sequence[Set],
    metric: Metrics,
    least: float,
    budget: int,
    without: bool,
) -> Interval:
    check_some(pairs)
    above, below = [], []
    for pair, members, measure in _with(pairs, _each(chosen, len(pairs)), metric):
        inside = set(members)
        tested = [node for node in pair.nodes if node not in inside] if without else members
        none, some, every = pair.values([(), tested, pair.nodes], measure, budget=budget)
        above.append(some - none)
        below.append(every - none)
    up, down = torch.stack(above), torch.stack(below)
    if abs(down.mean().item()) < least:
        raise SteerError(
            f"all nodes together change {_name(metric)} by {down.mean().item():.2g}, less than "
            f"{least:g}: a share of that says nothing; choose prompts or a metric that differ"
        )
    return ratio_interval(up, down)


def _with(
    pairs: Sequence[Patchable], sets: Sequence[Set], metric: Metrics
) -> Iterator[tuple[Patchable, Set, Metric | str]]:
    return zip(pairs, sets, each_metric(metric, len(pairs)), strict=True)


def _each(sets: Set | Sequence[Set], pairs: int) -> list[Set]:
    """One set, or one a pair, as one a pair."""
    one = [node for node in sets if isinstance(node, int)]
    if len(one) == len(sets):
        return [one] * pairs
    several = [nodes for nodes in sets if not isinstance(nodes, int)]
    if len(several) != len(sets) or len(several) != pairs:
        raise SteerError(f"{len(sets)} sets were given for {pairs} pairs; give one, or one each")
    return several


def _name(metric: Metrics) -> str:
    first = metric if isinstance(metric, Metric | str) else metric[0]
    return first if isinstance(first, str) else type(first).__name__


__all__ = [
    "ERROR",
    "Curve",
    "Patchable",
    "against_null",
    "completeness",
    "faithfulness",
    "node_effects",
    "patch_curve",
    "prompt_pairs",
    "rank",
    "scores",
    "set_norms",
    "set_values",
]
