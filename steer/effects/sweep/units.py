"""The work of sweeps in units: a prompt, and a block of its features or pairs.

A block holds features that are first changed near one another, so that its batches are short. How
large it is decides which features share a batch, and so the last bits of their effects: a block is
of a fixed size, and not of one measured.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations

import torch
from torch import Tensor

from dictionaries.dictionary import Dictionary
from steer.disk.ledger import Row
from steer.edits.positions import Positions
from steer.effects.metric import Metric
from steer.effects.sweep.controls import Against, control_rows
from steer.effects.sweep.prepared import Deltas, EditOf, Prepared, effects_in_batches, prepare
from steer.effects.sweep.remote import remote_effects
from steer.jobs.job import Each, Opened, blocks
from steer.lm.remote import Remote
from steer.maths.memory import measured
from steer.model import Model

_MIB = 2**20


@dataclass(frozen=True, eq=False)
class Asked:
    """What is done to a model: the same for all units.

    measures: one a prompt. budget: bytes beside the model. block: features (or pairs) of a unit at
    most. most_tokens: of a batch. remote: where the edited passes run.
    """

    prompts: tuple[str, ...]
    measures: tuple[Metric, ...]
    dictionary: Dictionary
    features: str | Sequence[int]
    edit: EditOf
    positions: Positions
    budget: int
    block: int
    most_tokens: int | None = None
    remote: Remote = False

    def effects(
        self,
        ready: Prepared,
        budget: int,
        sets: Sequence[tuple[int, ...]],
        *,
        deltas: Deltas | None = None,
        draws: int = 1,
    ) -> Iterator[tuple[list[tuple[int, ...]], Tensor]]:
        """Sets of edits and their effects [b, draws], in batches; see `effects_in_batches`."""
        if self.remote:
            return remote_effects(ready, sets, self.remote, deltas=deltas, draws=draws)
        most = self.most_tokens
        return effects_in_batches(ready, sets, budget, most, deltas=deltas, draws=draws)

    @property
    def most_features(self) -> int:
        """That one prompt can have."""
        return self.dictionary.width if isinstance(self.features, str) else len(self.features)

    def ready(self, model: Model, number: int) -> tuple[Prepared, int]:
        """A prompt, and the bytes that are left for its batches: in whole MiB, so that a few bytes
        held by chance never make another batch."""
        with measured(model.device) as used:
            prompt, metric = self.prompts[number], self.measures[number]
            prepared = prepare(
                model,
                prompt,
                number,
                metric,
                self.dictionary,
                self.features,
                self.edit,
                self.positions,
            )
        return prepared, self.budget - -(-used.held // _MIB) * _MIB


@dataclass(frozen=True, eq=False)
class Effects:
    """The effect of each feature alone."""

    asked: Asked
    stage: str = "effects"
    doing: str = "sweeping"
    part: str = "prompt"

    @property
    def parts(self) -> int:
        return len(self.asked.prompts)

    @property
    def most_units(self) -> int:
        return len(blocks(self.asked.most_features, self.asked.block))

    def open(self, model: Model, part: int) -> Opened:
        return self.opened(*self.asked.ready(model, part))

    def opened(self, ready: Prepared, budget: int) -> Opened:
        """The units of a prompt that is ready."""
        first = ready.changes.first.tolist()
        acting = sorted(ready.acting(), key=lambda i: (first[i], i))
        cut = blocks(len(acting), self.asked.block)

        def rows(unit: int) -> list[Row]:
            sets = [(acting[i],) for i in cut[unit]]
            rows = [
                row
                for batch, effects in self.asked.effects(ready, budget, sets)
                for row in _rows(ready, [i for (i,) in batch], effects[:, 0])
            ]
            return sorted(rows, key=lambda row: row["feature"])

        return Opened(len(cut), rows)


def controls(asked: Asked, against: Against) -> Each[Model]:
    """The controls of the features asked for."""
    return Each(
        stage="controls",
        doing="comparing with controls",
        part="prompt",
        parts=len(asked.prompts),
        rows=partial(_controls, asked, against),
    )


def _controls(asked: Asked, against: Against, model: Model, number: int) -> list[Row]:
    ready, budget = asked.ready(model, number)
    return control_rows(ready, asked.dictionary, against, partial(asked.effects, ready, budget))


@dataclass(frozen=True, eq=False)
class Pairs:
    """The joint effect of each pair of the features asked for, beside the two alone."""

    asked: Asked
    stage: str = "pairs"
    doing: str = "sweeping pairs"
    part: str = "prompt"

    @property
    def parts(self) -> int:
        return len(self.asked.prompts)

    @property
    def most_units(self) -> int:
        return len(blocks(len(_pairs(self.asked.features)), self.asked.block))

    def open(self, model: Model, part: int) -> Opened:
        asked = self.asked
        ready, budget = asked.ready(model, part)
        pairs = _pairs(self.asked.features)
        cut = blocks(len(pairs), self.asked.block)

        def rows(unit: int) -> list[Row]:
            mine = [pairs[i] for i in cut[unit]]
            alone = sorted({i for pair in mine for i in pair})
            wanted: list[tuple[int, ...]] = [*((i,) for i in alone), *mine]
            effect: dict[tuple[int, ...], float] = {}
            for batch, effects in asked.effects(ready, budget, wanted):
                effect |= dict(zip(batch, effects[:, 0].tolist(), strict=True))
            return [_interaction(ready, pair, effect) for pair in mine]

        return Opened(len(cut), rows)


def _pairs(features: str | Sequence[int]) -> list[tuple[int, int]]:
    return list(combinations(range(len(features)), 2))


def _interaction(
    ready: Prepared, pair: tuple[int, int], effect: dict[tuple[int, ...], float]
) -> Row:
    i, j = pair
    return {
        "prompt": ready.number,
        "feature": ready.features[i],
        "other": ready.features[j],
        "joint": effect[i, j],
        "sum": effect[i,] + effect[j,],
        "interaction": effect[i, j] - effect[i,] - effect[j,],
    }


def _rows(ready: Prepared, index: Sequence[int], effects: Tensor) -> list[Row]:
    changes = ready.changes
    changed = changes.amount != 0
    acting = changed.sum(0).tolist()
    # Where it is not edited it may be far larger: at a first token with a massive activation.
    peak = torch.where(changed, changes.before.abs(), 0.0).amax(0).tolist()
    norm = changes.dose.norm(dim=0).tolist()
    return [
        {
            "prompt": ready.number,
            "feature": ready.features[i],
            "effect": effect,
            "activation": peak[i],
            "tokens": acting[i],
            "norm": norm[i],
        }
        for i, effect in zip(index, effects.tolist(), strict=True)
    ]
