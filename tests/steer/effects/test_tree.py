"""Causal trees: in closed form where no block lies between, and against edits made one by one."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from functools import cache

import pytest
import torch
from torch import Tensor

import steer
from dictionaries.dictionary import Dictionary
from steer.effects.tree.causal_tree import causal_tree
from steer.effects.tree.contexts import find_contexts, read_texts
from steer.effects.tree.result import CausalTree
from steer.errors import SteerError
from steer.splice import passes
from tests.support import tiny

CHANCE = random.Random(0)
TEXTS = tuple(" ".join(f"w{CHANCE.randrange(3, 96)}" for _ in range(5)) for _ in range(30))
TARGET = 5


def named(hookpoint: str, seed: int = 3, architecture: str = "jumprelu") -> Dictionary:
    dictionary = tiny.dictionary(hookpoint, architecture, seed=seed, with_statistics=False)
    return replace(dictionary, name=hookpoint)


@cache
def tree(late: str = "resid_pre.2", early: str = "resid_post.1") -> CausalTree:
    dictionaries = [named(late, 9), named(early)]
    return causal_tree(
        tiny.tiny_model("llama"), dictionaries, TARGET, TEXTS, contexts=3, hydra=True
    )


def clean_x(ids: tuple[int, ...]) -> Tensor:
    batch = torch.tensor([ids])
    x = tiny.tiny_model("llama").collect(batch, torch.ones_like(batch), ["resid_post.1"])
    return x["resid_post.1"][0]


def test_where_no_block_lies_between_the_drop_is_in_closed_form() -> None:
    """resid_pre.2 is resid_post.1: the target reads x − a d at the last token, and only there."""
    later, earlier, found = named("resid_pre.2", 9), named("resid_post.1"), tree()
    for edge in found.parents():
        parent, drops = found.nodes[edge.parent].feature, []
        for context in found.nodes[0].contexts:
            x = clean_x(context.ids)[-1]
            a = earlier.encode(x)[0][parent]
            rest = x - a * earlier.W_dec[parent]
            drops.append((later.encode(x)[0] - later.encode(rest)[0])[TARGET].item())
        assert edge.drop == pytest.approx(sum(drops) / len(drops), abs=1e-5)
        assert edge.low - 1e-6 <= edge.drop <= edge.high + 1e-6
        assert edge.share == pytest.approx(edge.drop / found.nodes[0].activation)


def test_the_kept_parents_are_those_with_the_largest_drops() -> None:
    later, earlier, found = named("resid_pre.2", 9), named("resid_post.1"), tree()
    totals = torch.zeros(tiny.WIDTH)
    tested = torch.zeros(tiny.WIDTH, dtype=torch.bool)
    for context in found.nodes[0].contexts:
        x = clean_x(context.ids)
        a = earlier.encode(x)[0]
        tested |= (a[1:] != 0).any(0)
        rest = x[-1] - a[-1].unsqueeze(1) * earlier.W_dec
        totals += later.encode(x[-1])[0][TARGET] - later.encode(rest)[0][:, TARGET]
    best = [found.nodes[edge.parent].feature for edge in found.parents()]
    assert best == totals.topk(len(best)).indices.tolist()
    assert found.nodes[0].tested == int(tested.sum())


def test_an_edge_is_the_edit_made_alone() -> None:
    model, later, earlier = (
        tiny.tiny_model("llama"),
        named("resid_post.2", 9),
        named("resid_post.0"),
    )
    found = tree("resid_post.2", "resid_post.0")

    def target(ids: Tensor, *features: int) -> float:
        edits = [steer.Ablate(feature, positions="1:") for feature in features]
        plans = model.plans([steer.Intervention(earlier.name, edits)], [earlier]) if edits else []
        seen: list[Tensor] = []
        block = model.module.model.layers[2]
        handle = block.register_forward_hook(lambda m, i, x: seen.append(x.clone()))
        passes.logits(model.nn, ids, model.span(ids, torch.ones_like(ids)), plans)
        handle.remove()
        return later.encode(seen[0][0, -1])[0][TARGET].item()

    contexts = [torch.tensor([context.ids]) for context in found.nodes[0].contexts]
    before = [target(ids) for ids in contexts]
    for context, value in zip(found.nodes[0].contexts, before, strict=True):
        assert context.activation == pytest.approx(value, abs=1e-5)
    for edge in found.parents()[:2]:
        feature = found.nodes[edge.parent].feature
        drops = [b - target(ids, feature) for b, ids in zip(before, contexts, strict=True)]
        assert edge.drop == pytest.approx(sum(drops) / len(drops), abs=1e-4)
    for backup in found.backups[:2]:
        gone = [target(ids, backup.top) for ids in contexts]
        both = [target(ids, backup.top, backup.feature) for ids in contexts]
        given = sum(g - b for g, b in zip(gone, both, strict=True)) / len(contexts)
        assert backup.given == pytest.approx(given, abs=1e-4)
        alone = [b - target(ids, backup.feature) for b, ids in zip(before, contexts, strict=True)]
        assert backup.alone == pytest.approx(sum(alone) / len(alone), abs=1e-4)


def test_contexts_are_in_the_upper_half_of_the_range() -> None:
    model, dictionary = tiny.tiny_model("llama"), named("resid_post.1")
    read = read_texts(model, dictionary, TEXTS)
    contexts = find_contexts(model, dictionary, TARGET, read, count=100)
    every = [model.features(text, dictionary).activations[1:, TARGET] for text in TEXTS]
    assert contexts.maximum == pytest.approx(torch.cat(every).max().item(), abs=1e-5)
    eligible = sum(bool((values >= contexts.maximum / 2).any()) for values in every)
    assert len(contexts.contexts) == eligible
    for context in contexts.contexts:
        assert contexts.maximum / 2 <= context.activation <= contexts.maximum + 1e-5
        assert len(context.ids) >= 2
        (own,) = clean_x(context.ids)[-1:]
        assert dictionary.encode(own)[0][TARGET].item() == pytest.approx(
            context.activation, abs=1e-5
        )
    few, again = (find_contexts(model, dictionary, TARGET, read, count=2) for _ in range(2))
    assert len(few.contexts) == min(2, eligible)
    assert few.contexts == again.contexts


def test_contexts_of_the_statistics() -> None:
    """Windows end at their strongest token, and count if they reach half of the maximum."""
    model = tiny.tiny_model("llama")
    dictionary = tiny.dictionary()
    contexts = find_contexts(model, dictionary, TARGET)
    assert dictionary.statistics is not None
    windows = dictionary.statistics.contexts[TARGET][:, :17].tolist()
    assert contexts.maximum == pytest.approx(dictionary.statistics.maximum[TARGET].item())
    for context in contexts.contexts:
        assert list(context.ids) in windows
        assert contexts.maximum / 2 <= context.activation <= contexts.maximum * 1.001


def test_trees_of_several_levels_are_plain_data() -> None:
    dictionaries = [named("resid_post.2", 9), named("resid_post.1"), named("resid_post.0", 4)]
    found = causal_tree(
        tiny.tiny_model("llama"), dictionaries, TARGET, TEXTS[:6], contexts=2, parents=2
    )
    data = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert [node["id"] for node in data["nodes"]] == list(range(len(data["nodes"])))
    assert {node["level"] for node in data["nodes"]} == {0, 1, 2}
    for edge in data["edges"]:
        source, target = data["nodes"][edge["source"]], data["nodes"][edge["target"]]
        assert source["level"] == target["level"] + 1
    assert not found.backups
    assert len(found.frame) == len(found.edges)
    features = [(node.level, node.feature) for node in found.nodes]
    assert len(features) == len(set(features))


def test_bad_input() -> None:
    model = tiny.tiny_model("llama")
    late, early = named("resid_post.2"), named("resid_post.0")
    with pytest.raises(SteerError, match="at least one of an earlier site"):
        causal_tree(model, [late], TARGET, TEXTS)
    with pytest.raises(SteerError, match="give the latest first"):
        causal_tree(model, [early, late], TARGET, TEXTS)
    with pytest.raises(SteerError, match="strongly active"):
        causal_tree(model, [late, early], TARGET)
    with pytest.raises(steer.DictionaryError, match="out of range"):
        causal_tree(model, [late, early], 48, TEXTS)
