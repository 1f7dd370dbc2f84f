"""The planted transformers do what their graphs say, and only that."""

from __future__ import annotations

from functools import cache

import pytest
import torch
from torch import Tensor

from apps.studies.truth.graph import (
    COUNT,
    EITHER,
    OUTPUTS,
    UNREAD,
    WIDTHS,
    G,
    Gate,
    Graph,
    Link,
    planted_graph,
)
from apps.studies.truth.world import (
    FIRST,
    LENGTH,
    SILENT,
    THRESHOLD,
    VOCABULARY,
    World,
    planted_world,
)


@cache
def world() -> World:
    return planted_world("exact", 7)


def computed(graph: Graph, g: Tensor) -> Tensor:
    """All features [n, s, COUNT] from those of the tokens [n, s, G], in plain arithmetic."""
    f = torch.zeros(*g.shape[:2], COUNT)
    f[..., :G] = g
    for head in graph.heads:
        for place in range(g.shape[1]):
            seen = g[:, : place + 1]
            weight = torch.ones(seen.shape[:2])
            if head.key is not None:
                weight = (2 * seen[..., head.key]).exp()
            weight = weight / weight.sum(1, keepdim=True)
            size = 1.0 if head.key is not None else LENGTH / 4
            f[:, place, head.child] = size * (weight * seen[..., head.value]).sum(1)
    for gate in graph.gates:
        f[..., gate.child] = gated(gate, f)
    return f


def gated(gate: Gate, f: Tensor) -> Tensor:
    parts = [w * f[..., p] for p, w in zip(gate.parents, gate.weights, strict=True)]
    match gate.kind:
        case "and":
            return parts[0] * parts[1]
        case "inhibit":
            return (parts[0] - parts[1]).clamp(min=0)
        case "sum":
            return torch.stack(parts).sum(0)
        case _:
            return torch.stack(parts).sum(0).clamp(max=1)


def test_the_model_computes_what_the_graph_says() -> None:
    planted = world()
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(SILENT + 1, VOCABULARY, (40, LENGTH), generator=generator)
    names = [f"resid_post.{site}" for site in range(3)]
    x = planted.model.collect(ids, torch.ones_like(ids), names)
    read = [d.encode(x[name])[0] for d, name in zip(planted.dictionaries, names, strict=True)]
    expected = computed(planted.graph, read[0])
    for site, width in enumerate(WIDTHS):
        shown = expected[..., :width]
        near = (shown - THRESHOLD).abs() < 1e-3  # read or not: rounding decides
        shown = torch.where(shown > THRESHOLD, shown, 0.0)
        torch.testing.assert_close(
            torch.where(near, 0.0, read[site]), torch.where(near, 0.0, shown), rtol=0, atol=1e-4
        )
    with torch.inference_mode():
        logits = planted.model.module(input_ids=ids).logits[:, -1]
    for output, weights in enumerate(planted.graph.reads):
        total = torch.stack([w * expected[:, -1, f] for f, w in weights.items()]).sum(0)
        torch.testing.assert_close(logits[:, FIRST + output], total, rtol=0, atol=1e-4)
    assert logits[:, SILENT].abs().max() == 0


def test_a_feature_changes_its_descendants_and_no_other() -> None:
    """Ancestors and children are those of the arithmetic, by taking each feature away in turn."""
    graph = planted_graph(7)
    g = torch.rand(300, LENGTH, G, generator=torch.Generator().manual_seed(0)) * 1.5 + 0.5
    g *= torch.rand(g.shape, generator=torch.Generator().manual_seed(1)) < 0.4
    for first, second in graph.couples:
        g[..., second] *= g[..., first] > 0
    clean = computed(graph, g)
    for feature in range(G):
        without = g.clone()
        without[..., feature] = 0
        changed = (computed(graph, without) - clean).abs().amax((0, 1)) > 1e-6
        children = graph.children(feature, 0)
        moved = set(changed[: WIDTHS[1]].nonzero().flatten().tolist())
        assert moved <= set(children)
        assert {c for c, link in children.items() if not link.backed} <= moved


@pytest.mark.parametrize("seed", range(5))
def test_what_nothing_reads_is_no_ancestor(seed: int) -> None:
    graph = planted_graph(seed)
    reached = {f for output in range(OUTPUTS) for f in graph.ancestors(output, 0)}
    assert reached <= set(range(G - UNREAD))
    assert len(reached) > G // 2
    assert all(set(graph.ancestors(o, 2)) == set(graph.reads[o]) for o in range(OUTPUTS))


def test_signs_multiply_along_a_path_and_differ_between_two() -> None:
    assert Link(-1).then(Link(-1, backed=True)) == Link(1, backed=True)
    assert Link(1, backed=True).beside(Link(-1)) == Link(EITHER)
    assert Link(1, backed=True).beside(Link(1, backed=True)) == Link(1, backed=True)


def test_the_same_seed_gives_the_same_world() -> None:
    one, again = world(), planted_world("exact", 7)
    assert one.graph == again.graph != planted_graph(8)
    for mine, theirs in zip(
        one.model.module.parameters(), again.model.module.parameters(), strict=True
    ):
        assert torch.equal(mine, theirs)
