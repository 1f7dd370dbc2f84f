"""The edit and its controls on one text: what each adds, and at which site.

One more control is one more part of `_at_site`, with a name in `protocol.ARMS`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from dictionaries.dictionary import Dictionary
from steer.effects.controls.matching import Like, as_dense, densities, matched_features
from steer.effects.controls.trials import matched_trials, random_trials
from steer.effects.passes.changes import clean_of, edit_deltas
from steer.effects.passes.clean import Clean, Edited
from steer.errors import SteerError
from steer.lm.anatomy import Site
from steer.maths.metrics import change
from steer.model import Model
from steer.splice.plan import SitePlan
from steer.splice.resolve import by_name
from steer.verdicts.frozen import frozen_dictionary
from steer.verdicts.protocol import DENSITY, EDIT, FROZEN, RANDOM, TURNED, WRONG_SITE, Protocol
from steer.verdicts.register import edited_features, testable_plan

_TOKENS = 512
"""Of all arms that run together."""

Measure = Callable[[Edited, Clean], Tensor]
"""What is kept of b edited copies beside the clean pass, [b, ...]."""


@dataclass(frozen=True, eq=False)
class Text:
    """A text with its arms. deltas [arms, s, d]: the last one is added at the wrong site.

    elsewhere: the clean pass resumed there; None where that arm is not run.
    """

    clean: Clean
    elsewhere: Clean | None
    deltas: Tensor

    def measured(
        self, arms: Sequence[int], scales: Tensor, measure: Measure, *, every: bool = False
    ) -> Tensor:
        """The measure of some arms, in their order, each scaled: [arms, ...]."""
        last = len(self.deltas) - 1
        here, there = [n for n in arms if n != last], [n for n in arms if n == last]
        values = [
            measure(place.resume(self._scaled(part, scales), every=every), place)
            for place, members in ((self.clean, here), (self.elsewhere, there))
            if place is not None
            for part in self._parts(members)
        ]
        return torch.cat(values)

    def _parts(self, arms: Sequence[int]) -> Iterator[Sequence[int]]:
        rows = max(1, _TOKENS // self.clean.length)
        for start in range(0, len(arms), rows):
            yield arms[start : start + rows]

    def _scaled(self, arms: Sequence[int], scales: Tensor) -> Tensor:
        size = scales[list(arms)].to(self.deltas.device)
        return (self.deltas[list(arms)].double() * size[:, None, None]).to(self.clean.x.dtype)


@dataclass(frozen=True, eq=False)
class Rows:
    """Decoder rows of features about as dense as the edited ones; arm: what they are called."""

    arm: str
    dictionary: Dictionary
    others: tuple[Like, ...]


@dataclass(frozen=True, eq=False)
class Arms:
    """Makes texts ready. names: one an arm, in the order of `Text.deltas`."""

    model: Model
    protocol: Protocol
    plan: SitePlan
    rows: tuple[Rows, ...]
    names: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        random = (RANDOM,) * self.protocol.draws
        rows = [part.arm for part in self.rows for _ in part.others]
        object.__setattr__(self, "names", (EDIT, *random, *rows, TURNED, WRONG_SITE))

    @classmethod
    def of(cls, model: Model, protocol: Protocol, dictionaries: Sequence[Dictionary]) -> Arms:
        """Features of equal density are chosen here, once for all texts."""
        plan = testable_plan(model, protocol.intervention, dictionaries)
        if not edited_features(protocol.intervention) or not protocol.others:
            return cls(model, protocol, plan, ())
        return cls(model, protocol, plan, tuple(_rows(model, protocol, plan, dictionaries)))

    def numbered(self, *names: str) -> list[int]:
        """The places of the arms of these names."""
        return [number for number, name in enumerate(self.names) if name in names]

    def text(self, text: str, *, every: bool = False, elsewhere: bool = True) -> Text:
        """A text with every arm, or all but that at the wrong site.

        every: for logits of every position, of a neutral text, whose second half counts as
            generated.
        """
        wrong = self.model.site(self.protocol.wrong_site) if elsewhere else None
        clean = _clean(self.model, text, self.plan, every, wrong)
        length = clean.length // 2 if every else None
        (delta,), sign = edit_deltas(clean, self.plan, length)
        other = None if wrong is None else clean.at(wrong)
        return Text(clean, other, torch.stack([*self._at_site(delta, sign), delta]))

    def _at_site(self, delta: Tensor, sign: float) -> Iterator[Tensor]:
        yield delta
        for trial in random_trials(delta, self.protocol.draws, self.protocol.seed):
            yield trial.delta
        for part in self.rows:
            for trial in matched_trials(delta, part.dictionary, part.others, sign):
                yield trial.delta
        yield -delta


def _rows(
    model: Model, protocol: Protocol, plan: SitePlan, dictionaries: Sequence[Dictionary]
) -> Iterator[Rows]:
    """Of the edit's own dictionary, and of the one whose decoder was frozen if there is one."""
    whole = model.dictionary_of(protocol.intervention, by_name(dictionaries))
    assert whole is not None
    clean = _clean(model, protocol.neutral[0], plan)
    edited = edited_features(protocol.intervention)
    matched = matched_features(clean, whole, edited, protocol.others, protocol.seed)
    assert matched is not None
    yield Rows(DENSITY, whole, matched.others)
    if protocol.frozen is None:
        return
    frozen = frozen_dictionary(model, protocol.frozen, plan, dictionaries)
    density = densities(clean, frozen)
    others = as_dense(density, matched.density, protocol.others, protocol.seed)
    if not others:
        raise SteerError(f"no feature of {protocol.frozen} is ever active: it is no control")
    yield Rows(FROZEN, frozen, others)


def _clean(
    model: Model, text: str, plan: SitePlan, every: bool = False, beside: Site | None = None
) -> Clean:
    return clean_of(model, model.tokenize([text])[0][0], plan, every=every, beside=beside)


def last_change(edited: Edited, clean: Clean) -> Tensor:
    """How the logits of the last token change, [b, V]."""
    return change(clean.logits[-1].double(), edited.logits[:, -1].double())
