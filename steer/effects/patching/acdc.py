"""Flat ACDC: leave out, one by one, every feature whose absence costs less than a threshold.

Conmy et al. 2023 on a graph without edges, as Cunningham et al. 2023 use it. It measures each
candidate exactly, so it is slow, and checks the ranking by gradients on small cases. What is
recorded at each threshold is of the set that was accepted, and not of the last candidate tried.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from steer.effects.defaults import BUDGET
from steer.effects.patching.curve import Curve
from steer.effects.patching.patchable import Patchable
from steer.effects.patching.patching import set_norms, set_values
from steer.effects.patching.ranking import check_some
from steer.errors import SteerError
from steer.maths.numbers import check_number
from steer.maths.statistics import interval
from steer.progress import Progress
from steer.shown import Shown

if TYPE_CHECKING:
    import pandas

TAUS: tuple[float, ...] = tuple(torch.logspace(-5, 0, 50, dtype=torch.float64).tolist())
_AHEAD = 16
"""Candidates measured at once, as if the decisions before them were known."""


@dataclass(frozen=True, eq=False, repr=False)
class Acdc(Shown):
    """The set that is left at each threshold. n pairs.

    taus: thresholds in nats, ascending; sets: the nodes accepted at each.
    kl, norm [taus, n]: of the accepted set: KL(edited‖target), and mean ‖Δx‖ over the positions.
    measured: how many sets were run on each pair.
    """

    taus: tuple[float, ...]
    sets: tuple[tuple[int, ...], ...]
    kl: Tensor
    norm: Tensor
    measured: int
    dictionary: str
    error: str

    @property
    def counts(self) -> tuple[int, ...]:
        return tuple(len(members) for members in self.sets)

    @property
    def curve(self) -> Curve:
        """KL against the number of nodes, each number once."""
        last = {count: place for place, count in enumerate(self.counts)}
        counts = tuple(sorted(last))
        index = [last[count] for count in counts]
        return Curve(
            counts, self.kl[index], self.norm[index], self.dictionary, "acdc", "kl", self.error
        )

    def _title(self) -> str:
        return f"Acdc: {len(self.taus)} thresholds over nodes of {self.dictionary}"

    def to_frame(self) -> pandas.DataFrame:
        """One row a threshold, with means over the pairs and intervals."""
        import pandas

        rows: list[dict[str, Any]] = []
        for tau, count, kl, norm in zip(self.taus, self.counts, self.kl, self.norm, strict=True):
            divergence = interval(kl)
            bounds = {"kl": divergence.mean, "low": divergence.low, "high": divergence.high}
            rows.append({"tau": tau, "count": count, **bounds, "norm": norm.mean().item()})
        return pandas.DataFrame(rows)


def flat_acdc(
    pairs: Sequence[Patchable],
    *,
    taus: Sequence[float] = TAUS,
    seed: int = 0,
    budget: int = BUDGET,
    progress: Progress | None = None,
) -> Acdc:
    """Start from all nodes; at each τ, in random order, leave out those with ΔKL < τ.

    KL(edited‖target) is the mean over the pairs, at the last token. Raises `SteerError` for no
    pairs.
    """
    check_some(pairs)
    if not taus:
        raise SteerError("no thresholds were given: leave taus out, or give some such as [0.01]")
    for tau in taus:
        check_number("tau", tau)
    generator = torch.Generator().manual_seed(seed)
    nodes = sorted({node for pair in pairs for node in pair.nodes})
    search = _Search(lambda sets: set_values(pairs, sets, budget=budget).mean(1), nodes)
    sets = []
    for number, tau in enumerate(sorted(taus)):
        order = torch.randperm(len(search.kept), generator=generator).tolist()
        for share in search.pass_over([search.kept[i] for i in order], tau):
            if progress:
                what = f"leaving out features: {len(search.kept)} left at τ = {tau:.2g}"
                progress(what, int(1000 * (number + share)), 1000 * len(taus))
        sets.append(tuple(search.kept))
    distinct = list(dict.fromkeys(sets))
    place = [distinct.index(remaining) for remaining in sets]
    return Acdc(
        taus=tuple(sorted(taus)),
        sets=tuple(sets),
        kl=set_values(pairs, distinct, budget=budget)[place],
        norm=set_norms(pairs, distinct)[place],
        measured=search.measured + len(distinct),
        dictionary=pairs[0].dictionary,
        error=pairs[0].error,
    )


class _Search:
    """The nodes still kept, their KL, and the KL without each, as far as it is known."""

    def __init__(self, measure: Callable[[list[list[int]]], Tensor], nodes: list[int]) -> None:
        self._measure, self.kept = measure, nodes
        self.measured, self._dropping = 1, True
        self._kl = measure([nodes])[0].item()
        self._known: dict[int, float] = {}

    def pass_over(self, order: Sequence[int], tau: float) -> Iterator[float]:
        """Consider each node once, in this order; the share of them that is decided."""
        place = 0
        while place < len(order):
            place += self._some(order[place : place + _AHEAD], tau)
            yield place / len(order)

    def _some(self, candidates: Sequence[int], tau: float) -> int:
        """Decide on the first of the candidates; how many were decided.

        They are measured together on the guess that all go the way of the last decision, and what
        follows a decision that went the other way is thrown away.
        """
        dropping = self._dropping
        values = self._chain(candidates) if dropping else self._singly(candidates)
        for number, (node, value) in enumerate(zip(candidates, values, strict=True)):
            self._dropping = value - self._kl < tau
            if self._dropping:
                self.kept = [other for other in self.kept if other != node]
                self._kl, self._known = value, {}
            if self._dropping != dropping:
                return number + 1
        return len(candidates)

    def _chain(self, candidates: Sequence[int]) -> list[float]:
        """KL without the first candidate, the first two, ..."""
        gone = [set(candidates[: n + 1]) for n in range(len(candidates))]
        return self._run([[node for node in self.kept if node not in removed] for removed in gone])

    def _singly(self, candidates: Sequence[int]) -> list[float]:
        """KL without each candidate alone."""
        new = [node for node in candidates if node not in self._known]
        values = self._run([[node for node in self.kept if node != candidate] for candidate in new])
        self._known |= dict(zip(new, values, strict=True))
        return [self._known[node] for node in candidates]

    def _run(self, sets: list[list[int]]) -> list[float]:
        self.measured += len(sets)
        return self._measure(sets).tolist() if sets else []
