"""What a causal tree found: features as nodes, and falls under ablation as edges."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from dictionaries.extras import need
from steer.effects.tree.contexts import Context
from steer.shown import Shown

if TYPE_CHECKING:
    import pandas

    from steer.figures.style import Figure


@dataclass(frozen=True)
class Node:
    """A feature. level: 0 is the target; each further level is an earlier dictionary.

    maximum: M of its range; contexts: drawn from its upper half; tested: how many earlier features
        were ablated in them, 0 at the last level.
    """

    level: int
    dictionary: str
    hookpoint: str
    feature: int
    maximum: float
    contexts: tuple[Context, ...]
    tested: int = 0

    @property
    def activation(self) -> float:
        """Mean over the contexts, NaN if there are none."""
        values = [context.activation for context in self.contexts]
        return sum(values) / len(values) if values else float("nan")


@dataclass(frozen=True)
class Edge:
    """How far a node falls when an earlier feature is ablated, in the node's activation units.

    child, parent: places among the nodes. drop: clean minus ablated, mean over the contexts, 0
        where the earlier feature is silent; low, high: its bootstrap interval over contexts.
    share: drop over the node's mean activation, with its interval over contexts.
    active: in how many contexts the parent is active.
    q: sign-flip test that the drop is 0, Benjamini-Hochberg over all features that were ablated.
    """

    child: int
    parent: int
    drop: float
    low: float
    high: float
    share: float
    share_low: float
    share_high: float
    active: int
    q: float


@dataclass(frozen=True)
class Backup:
    """What an earlier feature does once a node's best parent is ablated as well.

    alone: the node's drop when it alone is ablated; given: the further drop when the best parent
        `top` is gone already, with its interval. More than alone means that it stands in for `top`
        (the hydra effect); less, that they do the same work.
    """

    child: int
    top: int
    feature: int
    alone: float
    given: float
    low: float
    high: float


@dataclass(frozen=True, repr=False)
class CausalTree(Shown):
    """nodes: the target first; a feature that several nodes depend on is there once.

    edges: of each node, the largest drop first. backups: of the hydra check, if it was asked for.
    error: what became of what a dictionary does not explain.
    """

    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]
    backups: tuple[Backup, ...]
    model: str
    dtype: str
    error: str = "keep"

    _columns: ClassVar = ("child", "parent", "share", "share_low", "share_high", "q", "active")

    def _title(self) -> str:
        return (
            f"CausalTree: {len(self.nodes)} features, {len(self.edges)} edges below feature "
            f"{self.nodes[0].feature} of {self.nodes[0].dictionary}, {self.model}, {self.dtype}"
        )

    def plot(self) -> Figure:
        """Features by level, edges as thick as what falls."""
        need("plotly")
        from steer.figures.tree import causal_tree

        return causal_tree(self.to_dict())

    def parents(self, node: int = 0) -> list[Edge]:
        """Edges from a node to what it depends on, the largest drop first."""
        return [edge for edge in self.edges if edge.child == node]

    def to_frame(self) -> pandas.DataFrame:
        """One row an edge."""
        import pandas

        names = ["level", "child", "parent", "drop", "low", "high"]
        names += ["share", "share_low", "share_high", "q", "active", "of"]
        rows = []
        for edge in self.edges:
            child, parent = self.nodes[edge.child], self.nodes[edge.parent]
            drop = edge.drop, edge.low, edge.high
            share = edge.share, edge.share_low, edge.share_high
            ends = f"{child.hookpoint}/{child.feature}", f"{parent.hookpoint}/{parent.feature}"
            counts = edge.q, edge.active, len(child.contexts)
            rows.append((parent.level, *ends, *drop, *share, *counts))
        return pandas.DataFrame(rows, columns=names)

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for JSON and for plots: `nodes` with an `id`, and `edges` between ids, from
        `source` (the earlier feature) to `target`. NaN becomes None."""
        nodes = []
        for number, node in enumerate(self.nodes):
            described = {**asdict(node), "id": number, "activation": node.activation}
            nodes.append(_plain(described))
        edges = [
            _plain({"source": edge.parent, "target": edge.child, **asdict(edge)})
            for edge in self.edges
        ]
        for edge in edges:
            del edge["parent"], edge["child"]
        return {
            "model": self.model,
            "dtype": self.dtype,
            "error": self.error,
            "nodes": nodes,
            "edges": edges,
            "backups": [_plain(asdict(backup)) for backup in self.backups],
        }


def _plain(data: dict[str, Any]) -> dict[str, Any]:
    return {key: None if value != value else value for key, value in data.items()}
