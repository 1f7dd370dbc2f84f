"""E3: how few features carry who the indirect object is?

In pairs of prompts that differ in one name, features of the base run are set to their values in the
target run, best first, at every token, the dictionary's error left as it is; measured is
KL(edited‖target) at the last token (Cunningham et al. 2023, section 4). Dictionaries of several
sparsities against one without sparsity (α = 0), principal components, neurons and random
directions. All are ranked by integrated gradients on the pairs themselves: one common ranking, as
the paper has one set for all pairs, and each pair's own. The names differ from pair to pair, so a
dictionary with a feature a name needs many for the common set, and few for a pair's own. A small
exact ACDC says what the ranking loses.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch

from apps.reproduce.e3_localisation.localised import Checked, Localised
from apps.reproduce.e3_localisation.table import tabulate
from apps.reproduce.kept.results import rows_of_each
from apps.reproduce.result import Table
from apps.reproduce.settings import Settings
from apps.reproduce.shared import bases, zoo
from apps.studies import ioi_prompts
from apps.studies.ioi_prompts import Pair
from dictionaries.baselines import neurons, pca, random_directions
from dictionaries.dictionary import Dictionary
from steer.effects.patching.acdc import flat_acdc
from steer.effects.patching.patchable import ERROR, Patchable
from steer.effects.patching.patching import patch_curve
from steer.effects.patching.prompt_pairs import prompt_pairs
from steer.effects.patching.ranking import scores
from steer.errors import SteerError
from steer.lm import default_model
from steer.maths import metrics

if TYPE_CHECKING:
    from steer.model import Model

REVISION = 2
"""Of what a row means: raise it, and interrupted runs start anew."""
LABELS = ("L1 α=0", "L1 α=0.5", "L1 α=1", "L1 α=2", "TopK k=16", "TopK k=64")
FAST_LABELS = ("L1 α=0", "L1 α=1", "TopK k=16")
LEAST_ACCURACY = 0.9
STEPS = 4
_GRID = tuple(2**power for power in range(9))
_ACDC_PAIRS = 2
_TAUS = (1e-3, 1e-2, 1e-1)


def run(settings: Settings) -> Table:
    """Raises `SteerError` if the model can't name indirect objects: nothing is there to find."""
    model = settings.load()
    given = ioi_prompts.pairs(model, settings.count(full=50, fast=3), settings.seed)
    accuracy = ioi_prompts.accuracy(model, given)
    if accuracy < LEAST_ACCURACY:
        raise SteerError(
            f"{settings.model} names the indirect object in {accuracy:.0%} of the prompts; "
            f"below {LEAST_ACCURACY:.0%} there is nothing to localise"
        )
    dictionaries = compared(settings)
    labels = FAST_LABELS if settings.fast else LABELS
    made_of = {
        "revision": REVISION,
        "pairs": [[pair.prompt, pair.other] for pair in given],
        "dictionaries": {k: path.name for k, path in zoo.paths(settings).items() if k in labels},
    }

    def find(item: tuple[str, Dictionary]) -> list[Localised]:
        name, dictionary = item
        return localise(model, name, dictionary, given)

    named = {name: (name, dictionary) for name, dictionary in dictionaries.items()}
    localised = rows_of_each(settings, "localisation", made_of, named, find, Localised)

    def check(item: tuple[str, Dictionary]) -> list[Checked]:
        name, dictionary = item
        return [checked(model, name, dictionary, given[:_ACDC_PAIRS])]

    sparsest = [] if settings.fast else _tested(dictionaries)
    tested = {name: (name, dictionaries[name]) for name in sparsest}
    checks = rows_of_each(settings, "localisation ACDC", made_of, tested, check, Checked)
    return tabulate(localised, checks, accuracy, settings.seed)


def compared(settings: Settings) -> dict[str, Dictionary]:
    """Name -> dictionary, all at one site: trained ones first, then the controls."""
    model, site = settings.load(), zoo.site(settings)
    dictionaries: dict[str, Dictionary] = {
        label: zoo.trained(settings, label, config)
        for label, config in zoo.configurations(settings).items()
        if label in (FAST_LABELS if settings.fast else LABELS)
    }
    width = next(iter(dictionaries.values())).width
    shipped = f"{settings.model}/{site}"
    if settings.model == default_model.NAME:
        dictionaries["shipped BatchTopK"] = model.dictionary(shipped)
    x = bases.site_activations(model, site, settings.count(full=48, fast=16), settings.seed)
    return dictionaries | controls(x, site, width, settings.seed)


def controls(x: torch.Tensor, site: str, width: int, seed: int) -> dict[str, Dictionary]:
    """Both signs of principal components and of neurons, and random directions, about the mean."""
    d = x.shape[1]
    components = pca(x, hookpoint=site)
    mean = components.b_dec
    untrained = bases.centred(random_directions(d, width, seed=seed, hookpoint=site), mean)
    return {
        "PCA": components,
        "neurons": bases.centred(neurons(d, hookpoint=site), mean),
        "random directions": bases.with_gain(untrained, x),
    }


def _tested(dictionaries: Mapping[str, Dictionary]) -> list[str]:
    """The dictionary that ACDC is run on: the sparsest, since every node is a forward pass."""
    return [name for name in dictionaries if name.startswith("TopK")][:1]


def localise(
    model: Model, name: str, dictionary: Dictionary, pairs: Sequence[Pair]
) -> list[Localised]:
    """The curves of one dictionary, with the common ranking and with each pair's own."""
    patchable = as_patchable(model, dictionary, pairs)
    common, own = rankings(patchable)
    gap = endpoint_gap(model, dictionary, pairs[:2])
    differing = sum(len(pair.features) for pair in patchable) / len(patchable)
    localised = []
    for ranking, order, most in (
        ("common", common, len(common)),
        ("own", own, max(len(order) for order in own)),
    ):
        counts = [0, *(count for count in _GRID if count < most), most]
        curve = patch_curve(patchable, order, counts=counts)
        values = {"kl": curve.value.tolist(), "norm": curve.norm.tolist()}
        localised.append(
            Localised(
                name, ranking, list(curve.counts), **values, differing=differing, endpoint_gap=gap
            )
        )
    return localised


def rankings(pairs: Sequence[Patchable]) -> tuple[list[int], list[list[int]]]:
    """Nodes by integrated gradients, best first: by their mean over the pairs, and by each pair."""
    scores_of = [scores([pair], "ig", steps=STEPS) for pair in pairs]
    total: dict[int, float] = {}
    for by_node in scores_of:
        for node, value in by_node.items():
            total[node] = total.get(node, 0.0) + value

    def best_first(values: Mapping[int, float]) -> list[int]:
        return sorted(values, key=lambda node: (-values[node], node))

    return best_first(total), [best_first(by_node) for by_node in scores_of]


def as_patchable(
    model: Model, dictionary: Dictionary, pairs: Sequence[Pair], error: str = "keep"
) -> tuple[Patchable, ...]:
    """Base runs that are to become the other prompt's."""
    bases_, targets = [pair.prompt for pair in pairs], [pair.other for pair in pairs]
    return prompt_pairs(model, bases_, targets, dictionary, error=error)


def endpoint_gap(model: Model, dictionary: Dictionary, pairs: Sequence[Pair]) -> float:
    """Largest gap, in nats, of the two ends that are known: nothing patched is the base run, and
    everything with the error is the target run. Both computed apart, by plain forward passes."""
    gap = 0.0
    for pair, patchable in zip(pairs, as_patchable(model, dictionary, pairs, "patch"), strict=True):
        base, target = (_last_logits(model, text) for text in (pair.prompt, pair.other))
        none, every = patchable.values([(), (*patchable.features, ERROR)], "kl").tolist()
        gap = max(gap, abs(none - metrics.kl(base, target).item()), abs(every))
    return gap


def _last_logits(model: Model, text: str) -> torch.Tensor:
    ids, mask = model.tokenize([text])
    return model.logits(ids, mask)[0, -1]


def checked(
    model: Model,
    name: str,
    dictionary: Dictionary,
    pairs: Sequence[Pair],
) -> Checked:
    """Exact ACDC on a few pairs against the gradients' common ranking."""
    patchable = as_patchable(model, dictionary, pairs)
    exact = flat_acdc(patchable, taus=_TAUS)
    order, _ = rankings(patchable)
    curve = patch_curve(patchable, order, counts=exact.counts)
    at = dict(zip(curve.counts, curve.value.mean(1).tolist(), strict=True))
    shared = [
        len(set(order[: len(members)]) & set(members)) / max(len(members), 1)
        for members in exact.sets
    ]
    checks: dict[str, Any] = {
        "taus": list(exact.taus),
        "counts": list(exact.counts),
        "kl": exact.kl.mean(1).tolist(),
        "ranked_kl": [at[count] for count in exact.counts],
        "shared": shared,
        "measured": exact.measured,
    }
    return Checked(name, **checks)
