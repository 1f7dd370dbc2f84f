"""The causal tree of a feature: which earlier features it is computed from.

For a target feature, contexts in which it is strongly active are drawn; in each, every active
feature of an earlier dictionary is ablated, one at a time, with the error kept; and earlier
features are sorted by how far the target falls. Then the same for the best of them, with a
dictionary that is earlier still (Cunningham et al. 2023, section 5.3). Directions of decoder and
encoder rows alone do not give these edges: the paper found such links wrong (its appendix D.4).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import torch
from torch import Tensor

from dictionaries.dictionary import Dictionary
from steer.edits import Ablate
from steer.edits.positions import Positions
from steer.effects.defaults import BUDGET, TEXT
from steer.effects.downstream.units import later_activations
from steer.effects.passes.batches import Set, in_rows
from steer.effects.passes.changes import encode_clean, read_changes
from steer.effects.passes.clean import Clean, run_clean
from steer.effects.tree.contexts import find_contexts, read_texts
from steer.effects.tree.result import Backup, CausalTree, Edge, Node
from steer.errors import SteerError
from steer.features.activations import encode_feature
from steer.lm.anatomy import Site
from steer.maths.precision import compute_dtype, exact
from steer.maths.statistics import benjamini_hochberg, bootstrap, ratio_interval, sign_flip
from steer.model import Model
from steer.progress import Progress


def causal_tree(
    model: Model,
    dictionaries: Sequence[Dictionary],
    feature: int,
    texts: Sequence[str] | None = None,
    *,
    contexts: int = 20,
    parents: int = 5,
    hydra: bool = False,
    positions: Positions = TEXT,
    seed: int = 0,
    budget: int = BUDGET,
    progress: Progress | None = None,
) -> CausalTree:
    """The tree of a feature of the first dictionary; each other one is of an earlier site.

    texts: where to look for contexts, see `find_contexts`; by default the dictionaries' own.
    parents: how many earlier features a node keeps, those under whose ablation it falls most.
    hydra: ablate the rest once more with the best parent gone too, to see who stands in for it.
    positions: where earlier features are ablated; not at the first token, by default.

    Raises `SteerError` for dictionaries that are not in order, or a target without contexts.
    """
    _check_order(model, dictionaries)
    dtype = compute_dtype(model.module.dtype)
    levels = [dictionary.to(model.device, dtype) for dictionary in dictionaries]

    read = [None if texts is None else read_texts(model, level, texts) for level in levels]

    def node(level: int, wanted: int) -> Node:
        contexts_of = find_contexts(
            model, levels[level], wanted, read[level], count=contexts, seed=seed
        )
        site = model.site_of(levels[level])
        return Node(
            level, levels[level].name, site, wanted, contexts_of.maximum, contexts_of.contexts
        )

    nodes = [node(0, feature)]
    if not nodes[0].contexts:
        raise SteerError(
            f"feature {feature} of {dictionaries[0].name} reaches half of its maximum "
            f"{nodes[0].maximum:.3g} in none of the texts; give some in which it is strongly active"
        )
    edges: list[Edge] = []
    backups: list[Backup] = []
    for place, child in enumerate(nodes):  # which grows meanwhile
        if child.level + 1 == len(levels) or not child.contexts:
            continue
        ablation = _Ablation(
            model, levels[child.level], levels[child.level + 1], child, positions, budget, progress
        )
        drops = ablation.drops()
        nodes[place] = replace(child, tested=len(drops.features))
        for number in drops.best(parents):
            wanted = drops.features[number]
            known = [
                i for i, n in enumerate(nodes) if (n.level, n.feature) == (child.level + 1, wanted)
            ]
            if not known:
                nodes.append(node(child.level + 1, wanted))
            edges.append(drops.edge(number, place, known[0] if known else len(nodes) - 1))
        if hydra and drops.best(1):
            backups += _backups(ablation, drops, place, parents)
    return CausalTree(tuple(nodes), tuple(edges), tuple(backups), model.name, model.precision)


_ROUNDING = 1e-6
"""A drop of this share of a node's activation may be rounding: norms compute in fp32."""


@dataclass(frozen=True, eq=False)
class Drops:
    """How far a node falls in each of n contexts under the ablation of each of k features.

    values [k, n]: 0 where the feature is silent; active [k]: in how many contexts it is not.
    clean [n]: the node's own activation.
    """

    features: tuple[int, ...]
    values: Tensor
    active: Tensor
    clean: Tensor

    @property
    def mean(self) -> Tensor:
        return self.values.mean(1)

    def best(self, k: int) -> list[int]:
        """Places of the k features with the largest mean drop, if it is more than rounding."""
        order = self.mean.argsort(descending=True, stable=True)[:k].tolist()
        return [place for place in order if self.mean[place] > _ROUNDING * self.clean.mean()]

    def edge(self, place: int, child: int, parent: int) -> Edge:
        low, high = bootstrap(self.values[place])
        q = benjamini_hochberg(sign_flip(self.values))[place].item()
        share = ratio_interval(self.values[place], self.clean)
        return Edge(
            child=child,
            parent=parent,
            drop=self.mean[place].item(),
            low=low.item(),
            high=high.item(),
            share=share.mean,
            share_low=share.low,
            share_high=share.high,
            active=int(self.active[place]),
            q=q,
        )


@dataclass(frozen=True, eq=False)
class _Ablation:
    """Ablates features of the earlier dictionary in a node's contexts and reads the node."""

    model: Model
    later: Dictionary
    earlier: Dictionary
    node: Node
    positions: Positions
    budget: int
    progress: Progress | None

    def drops(self, top: int | None = None) -> Drops:
        """Of every earlier feature that is active in any context; with `top`, of the others, from
        where ablating `top` has left the node already."""
        drops = [self._one(number, top) for number in range(len(self.node.contexts))]
        features = sorted({feature for drop in drops for feature in drop})
        values = torch.zeros(len(features), len(drops), dtype=torch.float64)
        for number, drop in enumerate(drops):
            for place, feature in enumerate(features):
                values[place, number] = drop.get(feature, 0.0)
        active = torch.tensor([sum(f in drop for drop in drops) for f in features])
        clean = torch.tensor(
            [context.activation for context in self.node.contexts], dtype=torch.float64
        )
        return Drops(tuple(features), values, active, clean)

    def _one(self, number: int, top: int | None) -> dict[int, float]:
        """The drop of each feature that is active in one context."""
        context, model = self.node.contexts[number], self.model
        site = model.site(model.site_of(self.later))
        ids = torch.tensor(context.ids, device=model.device)
        clean = _clean(model, ids, self.earlier, site)
        active = (encode_clean(clean, self.earlier)[clean.touched(self.positions)] != 0).any(0)
        features = active.nonzero().flatten().tolist()
        edits = [Ablate(feature, positions=self.positions) for feature in features]
        if not edits:
            return {}
        changes = read_changes(clean, self.earlier, edits)
        base: tuple[int, ...] = (features.index(top),) if top in features else ()
        sets: list[Set] = [base, *((*base, i) for i in range(len(features)) if i not in base)]

        def read(batch: list[Set]) -> Tensor:
            with torch.inference_mode():
                delta = changes.delta(batch, clean.x.dtype)
                x = later_activations(clean, delta, site)[:, -1]
                return encode_feature(self.later, self.node.feature, exact(x))

        first = changes.first.tolist()
        starts = [min((first[i] for i in features), default=0) for features in sets]
        left = in_rows(read, sets, starts, clean.length, model.device, self.budget).double()
        if self.progress:
            self.progress("ablating earlier features", number + 1, len(self.node.contexts))
        rest = [feature for i, feature in enumerate(features) if i not in base]
        return dict(zip(rest, (left[0] - left[1:]).tolist(), strict=True))


def _backups(ablation: _Ablation, alone: Drops, child: int, parents: int) -> list[Backup]:
    """The hydra check: who does most once the best parent is gone."""
    top = alone.features[alone.best(1)[0]]
    given, backups = ablation.drops(top), []
    before = dict(zip(alone.features, alone.mean.tolist(), strict=True))
    for place in given.best(parents):
        feature = given.features[place]
        low, high = bootstrap(given.values[place])
        drop = given.mean[place].item()
        backups.append(Backup(child, top, feature, before[feature], drop, low.item(), high.item()))
    return backups


def _clean(model: Model, ids: Tensor, dictionary: Dictionary, later: Site) -> Clean:
    """A clean pass that is edited where the dictionary writes, with what it reads and `later`."""
    read = model.site(model.site_of(dictionary))
    write = model.site(dictionary.config.hookpoint_out or str(read.hookpoint))
    return run_clean(model, ids, write, [later] if read == write else [read, later], every=False)


def _check_order(model: Model, dictionaries: Sequence[Dictionary]) -> None:
    if len(dictionaries) < 2:
        raise SteerError("a tree needs the target's dictionary and at least one of an earlier site")
    for later, earlier in pairwise(dictionaries):
        read = model.site(model.site_of(later)).hookpoint
        write = model.site(earlier.config.hookpoint_out or model.site_of(earlier)).hookpoint
        if write.order >= read.order:
            raise SteerError(
                f"{earlier.name or 'a dictionary'} writes {write}, which is not before {read}, "
                f"that {later.name or 'the one before it'} reads; give the latest first"
            )
