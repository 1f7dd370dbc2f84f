"""Prompts that a stage made ready, for the stages behind it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from steer.effects.sweep.prepared import Prepared
from steer.effects.sweep.units import Asked, Effects
from steer.jobs.job import Opened
from steer.model import Model

SHARE = 8
"""What prompts may hold, of the budget: one part in so many."""


@dataclass(frozen=True, eq=False)
class Remembered:
    """As many prompts as fit. Whether one is remembered changes how long it takes, and no bit.

    In another process nothing is: what is sent there is what is asked.
    """

    asked: Asked
    there: dict[int, tuple[Prepared, int]] = field(default_factory=dict)

    def __reduce__(self) -> Any:
        return Remembered, (self.asked,)

    def ready(self, model: Model, number: int) -> tuple[Prepared, int]:
        """A prompt with all its features, and the bytes that are left for its batches."""
        if number in self.there:
            return self.there[number]
        most = self.asked.budget // SHARE
        asked = replace(self.asked, budget=self.asked.budget - most)
        prepared, left = asked.ready(model, number)
        held = sum(asked.budget - there for _, there in self.there.values())
        if held + asked.budget - left <= most:
            self.there[number] = prepared, left
        return prepared, left


@dataclass(frozen=True, eq=False, kw_only=True)
class Chosen(Effects):
    """The effects of some of the features; asked: with these alone."""

    remembered: Remembered

    def open(self, model: Model, part: int) -> Opened:
        ready, budget = self.remembered.ready(model, part)
        assert not isinstance(self.asked.features, str)
        return self.opened(ready.only(self.asked.features), budget)
