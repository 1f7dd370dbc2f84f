"""Which features reach a logit? By ablation, by patching, by gradients, and by being active."""

from __future__ import annotations

import torch

from apps.studies.truth.asked import ASKED, EVERYWHERE, FEW, PROMPTS, Asked, largest
from apps.studies.truth.graph import OUTPUTS, WIDTHS, G
from apps.studies.truth.score import Count, Tally, Truth, count, named_by
from apps.studies.truth.world import FIRST
from steer.effects.attribution.attribution import attribution
from steer.effects.logits.logit_effect import logit_effect
from steer.effects.patching.acdc import flat_acdc
from steer.effects.patching.minimal_set import minimal_set
from steer.effects.patching.patching import node_effects
from steer.effects.patching.prompt_pairs import prompt_pairs
from steer.effects.paths.direct import direct_logit_effect
from steer.effects.sweep.ablation_sweep import pair_sweep

FAITHFUL, THRESHOLD = 0.99, 1e-6
"""What a minimal set has to reach; nats that `flat_acdc` gives up a feature for."""
_LEAST = 0.1
"""Logits by which two prompts must differ for a set to explain the difference."""


def sweep(asked: Asked) -> Tally:
    """Ablate each feature."""
    total = Count()
    for (output, site), swept in asked.sweeps.items():
        effects = largest(swept.features, swept.matrix())
        total += count(named_by(effects), asked.ancestors(output, site))
    return Tally(total)


def estimate(method: str, asked: Asked) -> Tally:
    """Estimate what ablating each would do, and how far that is from what it does."""
    total, off, size = Count(), 0.0, 0.0
    for (output, site), exact in asked.sweeps.items():
        estimated = attribution(
            asked.world.model,
            asked.prompts(output),
            asked.dictionary(site),
            asked.metric(output),
            method=method,
            error="keep",
            positions=EVERYWHERE,
        )
        values = estimated.matrix()
        effects = largest(range(len(values)), values)
        total += count(named_by(effects), asked.ancestors(output, site))
        true = torch.zeros_like(values)
        true[exact.features] = exact.matrix()
        off += (values - true).abs().sum().item()
        size += true.abs().sum().item()
    return Tally(total, off / size)


def activation(asked: Asked) -> Tally:
    """A control that asks nothing of the model: how active a feature is."""
    total = Count()
    for (output, site), swept in asked.sweeps.items():
        effects = largest(swept.features, swept.matrix("activation"))
        total += count(named_by(effects), asked.ancestors(output, site))
    return Tally(total)


def patched(asked: Asked) -> Tally:
    """Put each feature of another prompt into one."""
    total = Count()
    for output in ASKED:
        bases, targets = asked.prompts(output, draw=1), asked.prompts(output)
        for site in (0, 1):
            pairs = prompt_pairs(asked.world.model, bases, targets, asked.dictionary(site))
            patched_nodes = node_effects(pairs, asked.metric(output))
            effects = largest(patched_nodes.features, patched_nodes.matrix())
            total += count(named_by(effects), asked.ancestors(output, site))
    return Tally(total)


def minimal(asked: Asked) -> Tally:
    """The fewest features that carry the logit's difference between two prompts."""
    total = Count()
    for output in ASKED:
        named, differ, metric = set[int](), set[int](), asked.metric(output)
        for base, target in _couples(asked, output):
            pairs = prompt_pairs(asked.world.model, base, target, asked.dictionary(1))
            none, every = pairs[0].values([(), pairs[0].nodes], metric).tolist()
            if abs(every - none) >= _LEAST:
                named |= set(minimal_set(pairs, faithfulness=FAITHFUL, metric=metric).nodes)
                differ |= set(pairs[0].features)
        total += count(frozenset(named), asked.ancestors(output, 1).among(differ))
    return Tally(total)


def acdc(asked: Asked) -> Tally:
    """What can't be left out if all logits are to be the target's."""
    total = Count()
    reach = {f for o in range(OUTPUTS) for f in asked.world.graph.ancestors(o, 1)}
    for output in ASKED:
        base, target = _couples(asked, output)[0]
        pairs = prompt_pairs(asked.world.model, base, target, asked.dictionary(1))
        (named,) = flat_acdc(pairs, taus=(THRESHOLD,)).sets
        truth = Truth(frozenset(reach & set(pairs[0].features)))
        total += count(frozenset(named), truth)
    return Tally(total)


def _couples(asked: Asked, output: int) -> list[tuple[str, str]]:
    bases, targets = (asked.prompts(output, FEW, draw) for draw in (2, 3))
    return list(zip(bases, targets, strict=True))


def together(asked: Asked) -> Tally:
    """Which two features only do their work together, or both do what one would?"""
    total, graph = Count(), asked.world.graph
    for output in ASKED:
        must = frozenset(graph.interacting(output))
        if not must:
            continue
        reach = graph.ancestors(output, 0)
        others = [f for f in range(G) if f not in reach][:4]
        pairs = pair_sweep(
            asked.world.model,
            asked.prompts(output),
            asked.dictionary(0),
            sorted({f for pair in must for f in pair} | set(others)),
            metric=asked.metric(output),
            positions=EVERYWHERE,
        )
        effects: dict[tuple[int, int], float] = {}
        for row in pairs.rows:
            pair = (row["feature"], row["other"])
            effects[pair] = max(effects.get(pair, 0.0), abs(row["interaction"]))
        may = frozenset((a, b) for a, b in effects if a in reach and b in reach)
        total += count(named_by(effects), Truth(must, may))
    return Tally(total)


def promoted(asked: Asked) -> Tally:
    """Ablate a feature: which logits change?"""
    total, graph = Count(), asked.world.graph
    reach = [graph.ancestors(output, 1) for output in range(OUTPUTS)]
    for feature in range(0, WIDTHS[1], 2):
        links = {o: links[feature] for o, links in enumerate(reach) if feature in links}
        if not links:
            continue
        effect = logit_effect(
            asked.world.model,
            asked.about(feature, PROMPTS),
            asked.ablate(1, feature),
            dictionaries=asked.world.dictionaries,
            draws=0,
        )
        total += count(named_by(_outputs(effect.delta_logit)), Truth.of(links))
    return Tally(total)


def direct(asked: Asked) -> Tally:
    """Which tokens does a feature promote by itself?"""
    total, graph = Count(), asked.world.graph
    for feature in range(0, WIDTHS[2], 2):
        planted = {o for o, reads in enumerate(graph.reads) if feature in reads}
        if planted:
            effect = direct_logit_effect(
                asked.world.model,
                asked.dictionary(2),
                feature,
                prompts=asked.about(feature),
                draws=0,
            )
            total += count(named_by(_outputs(effect.logits)), Truth(frozenset(planted)))
    return Tally(total)


def _outputs(logits: torch.Tensor) -> dict[int, float]:
    """Of changes [n, V], of each token the largest; by the number of the output."""
    return {t - FIRST: v for t, v in enumerate(logits.abs().amax(0).tolist()) if t >= FIRST}
