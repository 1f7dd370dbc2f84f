"""The ways of steering that E7 compares, each as an edit of a given dose."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from apps.reproduce.e7_steering.concepts import Concept
from dictionaries.beside.statistics import WINDOW
from dictionaries.concepts import difference_of_means
from dictionaries.dictionary import Dictionary
from steer.edits import (
    Add,
    AddDirection,
    Clamp,
    ClampProjection,
    Edit,
    Intervention,
)
from steer.edits.directions import DecoderRow, Direction, Random, Vector
from steer.evals.steering.matched_doses import Dosed
from steer.evals.steering.score import POSITIONS

if TYPE_CHECKING:
    from steer.model import Model

RANDOMS = 2
"""Random directions, and unrelated features, a concept."""


@dataclass(frozen=True, eq=False)
class Method:
    """One way to steer one concept.

    edit: None for the prompt, which has no dose.
    density: share of tokens at which the feature is active, if it is one.
    """

    name: str
    edit: Dosed | None
    hint: str = ""
    density: float | None = None


def methods_of(
    dictionary: Dictionary, concept: Concept, direction: Tensor | None, seed: int
) -> list[Method]:
    """All ways to steer towards one concept. direction: its difference of means, if it has one.

    A dose is a length along a direction; an activation is a dose divided by its row's norm.
    """
    name = dictionary.name
    row = DecoderRow(name, concept.feature)

    def feature(kind: type[Clamp] | type[Add], which: int = concept.feature) -> Dosed:
        return feature_edit(dictionary, which, kind)

    def push(source: Direction) -> Dosed:
        return _dosed(name, lambda dose: AddDirection(source, dose, positions=POSITIONS))

    assert dictionary.statistics is not None
    density = dictionary.statistics.density.tolist()
    projection = _dosed(name, lambda dose: ClampProjection(row, dose, positions=POSITIONS))
    methods = [
        Method(f"feature: {kind}", edit, density=density[concept.feature])
        for kind, edit in (
            ("code clamp", feature(Clamp)),
            ("add", feature(Add)),
            ("projection clamp", projection),
        )
    ]
    if direction is not None:
        methods.append(Method("difference of means", push(Vector(direction.tolist()))))
    methods.append(Method("prompt", None, concept.hint))
    for number in range(RANDOMS):
        methods.append(Method("random direction", push(Random(100 * seed + number))))
    for other in unrelated(dictionary, concept.feature, RANDOMS, seed):
        edit = feature(Clamp, other)
        methods.append(Method("unrelated feature", edit, density=density[other]))
    return methods


def feature_edit(
    dictionary: Dictionary, feature: int, kind: type[Clamp] | type[Add] = Clamp
) -> Dosed:
    """A dose is a length along the feature's row; the activation is that divided by its norm."""
    length = dictionary.W_dec[feature].norm().item()
    return _dosed(dictionary.name, lambda dose: kind(feature, dose / length, positions=POSITIONS))


def _dosed(name: str, edit: Any) -> Dosed:
    def make(dose: float) -> Intervention:
        made: Edit = edit(dose)
        return Intervention(name, [made])

    return make


def unrelated(dictionary: Dictionary, feature: int, count: int, seed: int) -> list[int]:
    """Other features about as often active: drawn from the 40 nearest in log density."""
    assert dictionary.statistics is not None
    density = dictionary.statistics.density.double().clamp(min=1e-9).log()
    distance = (density - density[feature]).abs()
    distance[feature] = torch.inf
    distance[dictionary.statistics.maximum <= 0] = torch.inf
    near = distance.argsort(stable=True)[:40]
    order = torch.randperm(len(near), generator=torch.Generator().manual_seed(seed))
    return near[order[:count]].tolist()


def concept_directions(
    model: Model, dictionary: Dictionary, concepts: Sequence[Concept], count: int, seed: int
) -> dict[str, Tensor]:
    """Difference of means over the tokens of `count` texts with and without each pattern, [d].

    Texts are the contexts that ship with the dictionary; a concept that too few of them mention
    (fewer than four) has none.
    """
    assert dictionary.statistics is not None
    contexts = dictionary.statistics.contexts.flatten(0, 1)
    contexts = contexts[(contexts >= 0).all(1)]
    order = torch.randperm(len(contexts), generator=torch.Generator().manual_seed(seed))
    drawn = contexts[order[:20_000]]
    texts = model.tokenizer.batch_decode(drawn.tolist())
    directions: dict[str, Tensor] = {}
    for concept in concepts:
        expression = re.compile(concept.pattern, re.IGNORECASE)
        mentions = [bool(expression.search(text)) for text in texts]
        having = [i for i, there in enumerate(mentions) if there][:count]
        lacking = [i for i, there in enumerate(mentions) if not there][:count]
        if min(len(having), len(lacking)) < 4:
            continue
        x = _activations(model, dictionary, drawn[having + lacking])
        labels = torch.arange(len(x)) < len(having)
        tokens = labels.repeat_interleave(x.shape[1])
        directions[concept.name] = difference_of_means(x.flatten(0, 1), tokens).W_dec[0]
    return directions


def _activations(model: Model, dictionary: Dictionary, contexts: Tensor) -> Tensor:
    """x [n, tokens, d] of contexts [n, WINDOW], without the first token."""
    assert contexts.shape[1] == sum(WINDOW)
    hookpoint = model.site_of(dictionary)
    parts = []
    for part in contexts.split(32):
        ids, mask = model.pad(part.tolist())
        parts.append(model.collect(ids, mask, [hookpoint])[hookpoint][:, 1:].float().cpu())
    return torch.cat(parts)
