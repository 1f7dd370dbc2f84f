"""Which nodes of a patched prompt matter most: estimated by gradients, or measured one by one."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from steer.effects.attribution.attribution import mean_gradient
from steer.effects.metric import Metric
from steer.effects.patching.patchable import Against, Patchable
from steer.errors import SteerError

RANKINGS = ("ig", "atp", "exact", "norm", "random")
Metrics = Metric | str | Sequence[Metric]
"""One metric, or one a prompt; `kl` is KL(edited‖target) at the last token."""


def rank(
    pairs: Sequence[Patchable],
    method: str = "ig",
    *,
    metric: Metrics = "kl",
    steps: int = 10,
    seed: int = 0,
) -> list[int]:
    """The nodes of all pairs, best first: what brings the metric closest to the target's.

    method: `ig` or `atp`, estimates by gradients (see `steer.attribution`); `exact`, each
        node patched alone; `norm`, the size of its change; `random`.

    A node's score is its mean over the pairs, 0 where it does not differ. Raises `SteerError` for
    an unknown method.
    """
    score_of = scores(pairs, method, metric=metric, steps=steps, seed=seed)
    return sorted(score_of, key=lambda node: (-score_of[node], node))


def scores(
    pairs: Sequence[Patchable],
    method: str = "ig",
    *,
    metric: Metrics = "kl",
    steps: int = 10,
    seed: int = 0,
) -> dict[int, float]:
    """Mean score of every node over the pairs; the higher, the closer to the target. See `rank`."""
    check_some(pairs)
    if method not in RANKINGS:
        raise SteerError(f"ranking {method!r} is unknown; allowed: {', '.join(RANKINGS)}, or nodes")
    if method == "random":
        nodes = sorted({node for pair in pairs for node in pair.nodes})
        drawn = torch.rand(len(nodes), generator=torch.Generator().manual_seed(seed))
        return dict(zip(nodes, drawn.tolist(), strict=True))
    total: dict[int, float] = {}
    for pair, measure in zip(pairs, each_metric(metric, len(pairs)), strict=True):
        own = _scores(pair, method, measure, steps)
        for node, score in zip(pair.nodes, own.tolist(), strict=True):
            total[node] = total.get(node, 0.0) + score / len(pairs)
    return total


def left_out(pairs: Sequence[Patchable], nodes: Sequence[int], metric: Metrics = "kl") -> Tensor:
    """Estimated change of the metric when each node of a patched set is left out of it, [nodes].

    The mean over the pairs, by the gradient where the set is patched: one pass for all nodes.
    """
    check_some(pairs)
    total = torch.zeros(len(nodes), dtype=torch.float64)
    for pair, measure in zip(pairs, each_metric(metric, len(pairs)), strict=True):
        slope = mean_gradient(pair.clean, pair.measure(measure), pair.delta([nodes])[0], 1, at=1.0)
        worth = dict(zip(pair.nodes, _along(pair, slope).tolist(), strict=True))
        total -= torch.tensor([worth.get(node, 0.0) for node in nodes], dtype=torch.float64)
    return total / len(pairs)


def _scores(pair: Patchable, method: str, metric: Metric | str, steps: int) -> Tensor:
    """Score of each of the pair's nodes."""
    if method == "norm":
        sizes = (pair.moved.abs() * pair.rows.norm(dim=-1)).norm(dim=0)
        return torch.cat([sizes, pair.rest.norm().view(1)])[: len(pair.nodes)].double()
    none, every = pair.values([(), pair.nodes], metric)
    better = 1.0 if every > none else -1.0
    if method == "exact":
        return better * (pair.values([(node,) for node in pair.nodes], metric) - none)
    return better * _estimates(pair, pair.measure(metric), method, steps)


def _estimates(pair: Patchable, metric: Against, method: str, steps: int) -> Tensor:
    """Estimated change of the metric from patching each node."""
    end = pair.patch([pair.nodes])[0]
    path = (-end if pair.inverted else end).to(pair.clean.x.dtype)
    points, at = (steps, 0.5) if method == "ig" else (1, 0.0)
    return _along(pair, mean_gradient(pair.clean, metric, path, points, at=at))


def _along(pair: Patchable, slope: Tensor) -> Tensor:
    """What each node's change is worth where the metric's gradient is slope [s, d]."""
    features = (pair.moved.double() * (slope @ pair.rows.double().T)).sum(0)
    rest = (pair.rest.double() * slope).sum().view(1)
    return torch.cat([features, rest])[: len(pair.nodes)].cpu()


def each_metric(metric: Metrics, pairs: int) -> list[Metric | str]:
    """One metric a pair. Raises `SteerError` for another number of them."""
    several: list[Metric | str] = (
        [metric] * pairs if isinstance(metric, Metric | str) else list(metric)
    )
    if len(several) != pairs:
        raise SteerError(f"{len(several)} metrics were given for {pairs} pairs; give one each")
    return several


def check_some(pairs: Sequence[Patchable]) -> None:
    """Raise `SteerError` if there are none."""
    if not pairs:
        raise SteerError("no prompt pairs were given; make some with prompt_pairs")
