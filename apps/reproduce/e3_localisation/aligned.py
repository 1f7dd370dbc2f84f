"""A subspace that is learned for the task: distributed alignment search (Geiger et al. 2024).

Orthonormal rows R [k, d] are trained so that an interchange intervention in the space they span,

    x  ←  x + (x̄ − x) Rᵀ R        at every position that differs between base x and target x̄,

gives the target's answer: the loss is −log p of it. The pairs that it is trained on are not those
that it is judged on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.parametrizations import orthogonal

from steer.effects.attribution.attribution import mean_gradient
from steer.effects.metric import LogProbability
from steer.effects.patching.patchable import Patchable
from steer.progress import Progress


@dataclass(frozen=True)
class Search:
    """steps of Adam, each on `batch` pairs, drawn without repeats within a pass over them."""

    steps: int = 36
    batch: int = 3
    rate: float = 0.01
    seed: int = 0


SEARCH = Search()


def learned_subspace(
    pairs: Sequence[Patchable],
    answers: Sequence[str],
    dimensions: int,
    search: Search = SEARCH,
    progress: Progress | None = None,
) -> Tensor:
    """Orthonormal rows [dimensions, d]. answers: the target's, one token each.

    pairs: with `error="patch"`, so that all nodes together are the whole difference of two runs.
    """
    moved = [whole_change(pair) for pair in pairs]
    measures = [
        pair.measure(LogProbability(word)) for pair, word in zip(pairs, answers, strict=True)
    ]
    with torch.random.fork_rng():
        torch.manual_seed(search.seed)
        layer: Any = orthogonal(torch.nn.Linear(moved[0].shape[1], dimensions, bias=False))
    optimizer = torch.optim.Adam(layer.parameters(), lr=search.rate)
    generator = torch.Generator().manual_seed(search.seed)
    order: list[int] = []
    for step in range(search.steps):
        if len(order) < search.batch:
            order = torch.randperm(len(pairs), generator=generator).tolist()
        chosen, order = order[: search.batch], order[search.batch :]
        rows = layer.weight
        worth = torch.zeros(())
        for number in chosen:
            delta = within(moved[number], rows)
            slope = mean_gradient(pairs[number].clean, measures[number], delta.detach(), 1, at=1.0)
            worth = worth + (slope.to(delta) * delta).sum() / len(chosen)
        optimizer.zero_grad()
        (-worth).backward()
        optimizer.step()
        if progress:
            progress(f"learning {dimensions} dimensions", step + 1, search.steps)
    learned: Tensor = layer.weight.detach().clone()
    return learned


def whole_change(pair: Patchable) -> Tensor:
    """Target minus base at every position that may change, [s, d]."""
    return pair.patch([pair.nodes])[0].float()


def within(moved: Tensor, rows: Tensor) -> Tensor:
    """The part of a change [s, d] that lies in the span of orthonormal rows [k, d]."""
    return (moved @ rows.T) @ rows


def interchanged(pair: Patchable, rows: Tensor) -> Tensor:
    """Last logits [V] of the base run with the target's part in the subspace."""
    delta = within(whole_change(pair), rows).to(pair.clean.x.dtype)
    with torch.inference_mode():
        return pair.clean.resume(delta.unsqueeze(0)).logits[0, -1]
