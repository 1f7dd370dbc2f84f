"""Which features are computed from which, and by which way does one reach a logit?"""

from __future__ import annotations

from collections.abc import Mapping

from apps.studies.truth.asked import ASKED, EVERYWHERE, PROMPTS, TARGETS, Asked
from apps.studies.truth.graph import WIDTHS
from apps.studies.truth.score import Count, Tally, Truth, count, named_by
from steer.effects.downstream.downstream import downstream
from steer.effects.paths.path_effects import Freeze, path_effects
from steer.effects.tree.causal_tree import causal_tree
from steer.effects.tree.result import CausalTree

_CONTEXTS = 8
_FREEZE = {"attention": Freeze(attention=True), "mlp": Freeze(mlp=True)}


def later(asked: Asked) -> Tally:
    """Ablate a feature: which features of the next site change?"""
    total = Count()
    for site in (0, 1):
        for feature in range(WIDTHS[site]):
            effect = downstream(
                asked.world.model,
                asked.about(feature),
                asked.ablate(site, feature),
                asked.dictionary(site + 1),
                at=EVERYWHERE,
                dictionaries=asked.world.dictionaries,
                draws=0,
            )
            effects: dict[int, float] = {}
            for changed in effect.changed:
                most = changed.change.abs().amax(0).tolist()
                for number, size in zip(changed.features.tolist(), most, strict=True):
                    effects[number] = max(effects.get(number, 0.0), size)
            truth = Truth.of(asked.world.graph.children(feature, site))
            total += count(named_by(effects), truth)
    return Tally(total)


def tree(asked: Asked) -> Tally:
    """From which features, of the two sites before, is one computed?

    A tree has the features under whose ablation another *falls*; with its hydra check also those
    that stand in for the one that did most.
    """
    total, world = Count(), asked.world
    for feature in TARGETS:
        grown = causal_tree(
            world.model,
            world.dictionaries[::-1],
            feature,
            asked.about(feature, PROMPTS),
            contexts=_CONTEXTS,
            parents=WIDTHS[1],
            hydra=True,
            positions=EVERYWHERE,
            seed=asked.seed,
        )
        for place, node in enumerate(grown.nodes):
            if node.tested:
                links = world.graph.parents(node.feature, 2 - node.level)
                named = named_by(_falls(grown, place), node.activation)
                total += count(named, Truth.of(links, only=1))
    return Tally(total)


def _falls(tree: CausalTree, place: int) -> dict[int, float]:
    falls = {tree.nodes[edge.parent].feature: edge.drop for edge in tree.parents(place)}
    for backup in tree.backups:
        if backup.child == place:
            falls[backup.feature] = max(falls.get(backup.feature, 0.0), backup.given)
    return falls


def routes(asked: Asked) -> Tally:
    """By which way does a token's feature reach a logit: directly, by attention, by MLPs?"""
    total = Count()
    for output in ASKED:
        truth, links = _routes(asked, output), asked.world.graph.ancestors(output, 0)
        effects: dict[int, dict[str, float]] = {}
        for feature in sorted(links):
            by_path = path_effects(
                asked.world.model,
                asked.about(feature),
                asked.ablate(0, feature),
                _FREEZE,
                metric=asked.metric(output),
                dictionaries=asked.world.dictionaries,
                draws=0,
            ).effect
            parts = {"direct": by_path["direct"]}
            parts |= {name: by_path["total"] - by_path[name] for name in _FREEZE}
            effects[feature] = {name: part.abs().max().item() for name, part in parts.items()}
        whole = max(size for effect in effects.values() for size in effect.values())
        for feature, link in links.items():
            ways, none = frozenset(truth[feature]), frozenset[str]()
            planted = Truth(none, none, ways) if link.backed else Truth(ways)
            total += count(named_by(effects[feature], whole), planted)
    return Tally(total)


def _routes(asked: Asked, output: int) -> Mapping[int, set[str]]:
    """Of each feature of a token that reaches an output, the parts that it goes through."""
    graph, ways = asked.world.graph, dict[int, set[str]]()
    read = graph.reads[output]
    for between in graph.ancestors(output, 1):
        later = any(between in graph.parents(t, 2) for t in read if t >= WIDTHS[1])
        for source in graph.parents(between, 1):
            for way in graph.ways(source, between):
                nodes = ways.setdefault(source, set())
                nodes |= {*way, *(["mlp"] if later else [])}
                if between in read and not way:
                    nodes.add("direct")
    return ways
