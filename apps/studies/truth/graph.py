"""A planted graph of features: which is computed from which, how, and what reads them.

    g   features of a token, in its embedding                         site 0
    m   one of g carried here from other tokens, by a head of block 1 site 1
    p   computed by block 1's MLP from g and m                        site 1
    t   computed by block 2's MLP from g, m and p                     site 2

Features are numbered in that order, and every one stays in the stream after it is written, so that
a number means the same feature at each site.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import torch

G, M, P, T = 24, 4, 20, 10
COUNT = G + M + P + T
WIDTHS = (G, G + M + P, COUNT)
"""How many features there are at each of the three sites."""
UNREAD, PAIRS = 4, 2
"""Of g: those that nothing reads, and couples that are always there together."""
OUTPUTS = 14
"""Tokens whose logit reads features."""
EITHER = 0
"""Sign of an edge that may raise or lower its child, such as that of a head's keys."""


@dataclass(frozen=True)
class Gate:
    """How an MLP computes `child` from `parents`, which are not negative.

    sum        relu(Σ wᵢ fᵢ), all w positive
    inhibit    relu(w₀ f₀ − w₁ f₁)
    and        w₀ f₀ f₁
    saturate   min(w₀ f₀, 1), where w₀ f₀ is above 1 more often than not
    redundant  min(w₀ f₀ + w₁ f₁, 1), where either alone is above 1 and neither comes alone
    """

    kind: str
    child: int
    parents: tuple[int, ...]
    weights: tuple[float, ...]

    def signs(self) -> tuple[int, ...]:
        return (1, -1) if self.kind == "inhibit" else (1,) * len(self.parents)


@dataclass(frozen=True)
class Head:
    """Carries `value` to `child` from where `key` is large, or, without one, from everywhere."""

    child: int
    value: int
    key: int | None


@dataclass(frozen=True)
class Link:
    """An edge, or a path. sign: +1 raises what it leads to, −1 lowers it, `EITHER`.

    backed: it leads through a gate that does as well without it.
    """

    sign: int
    backed: bool = False

    def then(self, later: Link) -> Link:
        return Link(self.sign * later.sign, self.backed or later.backed)

    def beside(self, other: Link) -> Link:
        """Two ways from the same to the same."""
        sign = self.sign if self.sign == other.sign else EITHER
        return Link(sign, self.backed and other.backed)


Links = Mapping[int, Link]
"""From the numbers of earlier features."""
_ITSELF = Link(1)


@dataclass(frozen=True)
class Graph:
    """gates: of both MLPs; heads: of block 1; reads: of each output token, the weights of the
    features that its logit reads; couples: features of a token that only come together."""

    gates: tuple[Gate, ...]
    heads: tuple[Head, ...]
    reads: tuple[Mapping[int, float], ...]
    couples: tuple[tuple[int, int], ...]

    @cached_property
    def _gate_of(self) -> dict[int, Gate]:
        return {gate.child: gate for gate in self.gates}

    def parents(self, child: int, site: int) -> Links:
        """At the site before: what a feature of this site (1 or 2) is computed from."""
        if child < WIDTHS[site - 1]:
            return {child: _ITSELF}
        if child < G + M:
            return self._carried(child)
        gate = self._gate_of[child]
        links: dict[int, Link] = {}
        for parent, sign in zip(gate.parents, gate.signs(), strict=True):
            link = Link(sign, gate.kind == "redundant")
            earlier = {parent: _ITSELF}
            if parent >= WIDTHS[site - 1]:  # carried here by the same block
                earlier = dict(self._carried(parent))
            for source, first in earlier.items():
                _add(links, source, first.then(link))
        return links

    def ancestors(self, output: int, site: int) -> Links:
        """At a site: the features that reach an output token's logit, by any path."""
        links: dict[int, Link] = {feature: Link(1) for feature in self.reads[output]}
        for later in range(2, site, -1):
            earlier: dict[int, Link] = {}
            for feature, link in links.items():
                for source, first in self.parents(feature, later).items():
                    _add(earlier, source, first.then(link))
            links = earlier
        return links

    def children(self, feature: int, site: int) -> Links:
        """At the next site: the features that are computed from one of this site."""
        linked = {}
        for child in range(WIDTHS[site + 1]):
            links = self.parents(child, site + 1)
            if feature in links:
                linked[child] = links[feature]
        return linked

    def ways(self, source: int, child: int) -> list[tuple[str, ...]]:
        """By which parts of block 1 a feature of site 0 gets into one of site 1."""
        if child < G:
            return [()] if source == child else []
        if child < G + M:
            return [("attention",)] if source in self._carried(child) else []
        paths: list[tuple[str, ...]] = []
        for parent in self._gate_of[child].parents:
            if parent == source:
                paths.append(("mlp",))
            elif parent >= G and source in self._carried(parent):
                paths.append(("attention", "mlp"))
        return paths

    def interacting(self, output: int) -> Iterator[tuple[int, int]]:
        """Couples of g that only do their work together, or do it twice, and reach an output."""
        reached = self.ancestors(output, 1)
        for gate in self.gates:
            together = gate.kind in ("and", "redundant")
            if together and gate.child in reached and max(gate.parents) < G:
                low, high = sorted(gate.parents)
                yield low, high

    def _carried(self, child: int) -> Links:
        head = self.heads[child - G]
        return {head.value: Link(1)} | ({} if head.key is None else {head.key: Link(EITHER)})


def _add(links: dict[int, Link], source: int, link: Link) -> None:
    links[source] = links[source].beside(link) if source in links else link


_OF_P = ("sum",) * 7 + ("inhibit",) * 3 + ("and",) * 4 + ("saturate",) * 4
_OF_T = ("sum",) * 5 + ("inhibit",) + ("and",) * 2 + ("saturate",) * 2


def planted_graph(seed: int) -> Graph:
    """The same graph for the same seed."""
    draw = _Draw(seed)
    couples = tuple((2 * i, 2 * i + 1) for i in range(PAIRS))
    read = range(2 * PAIRS, G - UNREAD)
    values, keys = draw.some(read, M), draw.some(read, 2)
    heads = tuple(
        Head(G + i, value, keys[i] if i < len(keys) and keys[i] != value else None)
        for i, value in enumerate(values)
    )
    sources = [*read, *range(G, G + M)]
    gates, child = [], G + M
    for kind in _OF_P:
        gates.append(draw.gate(kind, child, sources))
        child += 1
    for couple in couples:
        gates.append(Gate("redundant", child, couple, (2.5, 2.5)))
        child += 1
    # Two features that are seldom there are hardly ever there together: an `and` of sums.
    often = [gate.child for gate in gates if gate.kind in ("sum", "saturate", "redundant")]
    every = [*(gate.child for gate in gates), *range(G, G + M), *draw.some(read, 4)]
    for kind in _OF_T:
        gates.append(draw.gate(kind, child, often if kind == "and" else every))
        child += 1
    reads: list[Mapping[int, float]] = []
    for number in range(OUTPUTS):
        main = COUNT - T + number if number < T else draw.some(every, 1)[0]
        also = draw.some(every, number % 2)
        reads.append({main: 1.0} | {f: draw.between(0.3, 0.6) for f in also if f != main})
    return Graph(tuple(gates), heads, tuple(reads), couples)


@dataclass(frozen=True)
class _Draw:
    seed: int

    @cached_property
    def _generator(self) -> torch.Generator:
        return torch.Generator().manual_seed(self.seed)

    def some(self, values: range | list[int], count: int) -> list[int]:
        order = torch.randperm(len(values), generator=self._generator)[:count]
        return [values[i] for i in order.tolist()]

    def between(self, low: float, high: float) -> float:
        return low + (high - low) * torch.rand(1, generator=self._generator).item()

    def gate(self, kind: str, child: int, sources: list[int]) -> Gate:
        if kind == "sum":
            count = 1 + int(torch.randint(3, (1,), generator=self._generator))
            weights = tuple(self.between(0.7, 1.3) / count**0.5 for _ in range(count))
            return Gate(kind, child, tuple(self.some(sources, count)), weights)
        if kind == "saturate":
            return Gate(kind, child, tuple(self.some(sources, 1)), (self.between(1.2, 2.0),))
        weights = (1.0, self.between(0.3, 0.6)) if kind == "inhibit" else (0.7, 1.0)
        return Gate(kind, child, tuple(self.some(sources, 2)), weights)
