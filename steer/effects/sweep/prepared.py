"""One prompt made ready for many small edits, and their effects found in batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor

from dictionaries.dictionary import Dictionary
from steer.edits import Edit
from steer.edits.positions import Positions
from steer.effects.metric import Metric, Reference
from steer.effects.passes.batches import in_batches
from steer.effects.passes.changes import Changes, clean_for, encode_clean, read_changes
from steer.effects.passes.clean import Clean, Edited
from steer.errors import SteerError
from steer.model import Model


class EditOf(Protocol):
    """Makes the edit of a feature: `Ablate`, or `functools.partial(Clamp, value="5x max")`."""

    def __call__(self, feature: int, /, *, positions: Positions) -> Edit: ...


Deltas = Callable[[Sequence[tuple[int, ...]]], Tensor]
"""Δ [n·b, s, d] of b sets of edits: n rows a set, one set after the other."""


@dataclass(frozen=True, eq=False)
class Prepared:
    """A prompt ready to be swept: clean pass, metric, and the changes of `features`."""

    number: int
    clean: Clean
    metric: Metric
    features: list[int]
    changes: Changes

    def deltas(self, sets: Sequence[tuple[int, ...]]) -> Tensor:
        """Δ [b, s, d] of each set of edits (by index), made together."""
        return self.changes.delta(sets, self.clean.x.dtype)

    def effects(self, delta: Tensor) -> Tensor:
        """Change of the metric, [b], when delta [b, s, d] is added at the site."""
        return self.change(self.clean.resume(delta, every=self.metric.every))

    def change(self, edited: Edited) -> Tensor:
        """Of the metric, [b]."""
        reference = Reference.of(edited.clean, self.clean.ids, edited.start, self.metric.every)
        with torch.inference_mode():
            return self.metric.change(edited.logits, reference)

    def only(self, features: Sequence[int]) -> Prepared:
        """Of the changes, those of these features."""
        wanted = set(features)
        index = [i for i, feature in enumerate(self.features) if feature in wanted]
        chosen = [self.features[i] for i in index]
        return replace(self, features=chosen, changes=self.changes.only(index))

    def acting(self) -> list[int]:
        """Indices of the features whose edit changes anything."""
        return (self.changes.first < self.clean.length).nonzero().flatten().tolist()


def prepare(
    model: Model,
    text: str,
    number: int,
    metric: Metric,
    dictionary: Dictionary,
    features: str | Sequence[int],
    edit: EditOf,
    positions: Positions,
) -> Prepared:
    """Run the prompt clean and read the changes.

    features: `active` or `all` (of these, the ones that the edit changes), or ids.
    """
    ids, _ = model.tokenize([text])
    clean = clean_for(model, ids[0], dictionary, every=metric.every)
    chosen = _chosen(clean, dictionary, features, positions)
    edits = [edit(feature, positions=positions) for feature in chosen]
    changes = read_changes(clean, dictionary, edits)
    if isinstance(features, str):
        acting = (changes.amount != 0).any(0).nonzero().flatten().tolist()
        chosen = [chosen[i] for i in acting]
        changes = changes.only(acting)
    return Prepared(number, clean, metric, chosen, changes)


def _chosen(
    clean: Clean, dictionary: Dictionary, features: str | Sequence[int], positions: Positions
) -> list[int]:
    if not isinstance(features, str):
        return list(dict.fromkeys(int(feature) for feature in features))
    match features:
        case "active":
            touched = clean.touched(positions)
            active = (encode_clean(clean, dictionary)[touched] != 0).any(0)
            return active.nonzero().flatten().tolist()
        case "all":
            return list(range(dictionary.width))
        case _:
            raise SteerError(f"features={features!r} is unknown; allowed: active, all, or ids")


def effects_in_batches(
    ready: Prepared,
    sets: Sequence[tuple[int, ...]],
    budget: int,
    most_tokens: int | None = None,
    *,
    deltas: Deltas | None = None,
    draws: int = 1,
) -> Iterator[tuple[list[tuple[int, ...]], Tensor]]:
    """Sets of edits and their effects [b, draws], in batches that fit the budget.

    Sets that start at the same position run together. deltas: other changes than the edits'
    own, `draws` rows a set. A batch has one set at least.
    """
    first, length = ready.changes.first.tolist(), ready.clean.length
    starts = [min(min(first[i] for i in one), length - 1) for one in sets]

    def run(numbers: list[int]) -> Tensor:
        return ready.effects((deltas or ready.deltas)([sets[number] for number in numbers]))

    batches = in_batches(
        run, starts, length, ready.clean.ids.device, budget, rows=draws, most_tokens=most_tokens
    )
    for numbers, effects in batches:
        yield [sets[number] for number in numbers], effects.view(len(numbers), draws)
