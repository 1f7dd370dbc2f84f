"""Which set of features, and how much of it: chosen under a budget of fluency.

Chosen on one half of the prompts and seeds alone; what is reported comes from the other half.
First every candidate at one dose, then the best two at the other doses. The text's loss is read by
the untouched model, and text that repeats itself is out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dictionaries.dictionary import Dictionary
from steer.concepts.candidates import Candidate
from steer.concepts.judge import Judge
from steer.concepts.trials import Trial, Unsteered, try_edits

if TYPE_CHECKING:
    from steer.model import Model

FIRST = 0.5
DOSES = (0.38, 0.44, 0.58, 0.68)
"""Shares of the residual's norm at the site, before the edit fades."""
BUDGET = 1.0
"""Nats a token that the text may cost more than the unsteered one."""
CAUTION = 0.85
"""Share of the budget that the choosing half may spend, since what was chosen looks too good."""
VARIED = 0.8
"""Least share of different token pairs."""
_AGAIN = 2


@dataclass(frozen=True, eq=False)
class Tried:
    """A candidate at a dose, a share of the residual's norm, and how it did."""

    candidate: Candidate
    dose: float
    trial: Trial

    def within(self, budget: float) -> bool:
        loss, varied = self.trial.loss_increase.mean(), self.trial.variety.mean()
        return bool(loss <= CAUTION * budget and varied >= VARIED)

    @property
    def merit(self) -> float:
        """Share of texts on topic, and how much they are."""
        graded = self.trial.score.clamp(0, 1).mean().item()
        return self.trial.on_topic.mean().item() + 0.5 * graded


@dataclass(frozen=True)
class Choice:
    """chosen: None if nothing stays within the budget; tried: all that was compared."""

    chosen: Tried | None
    best_single: Tried | None
    tried: tuple[Tried, ...]

    @property
    def course(self) -> list[Tried]:
        """The chosen candidate at each dose that it was tried at, rising."""
        if self.chosen is None:
            return []
        own = [
            attempted for attempted in self.tried if attempted.candidate is self.chosen.candidate
        ]
        return sorted(own, key=lambda attempted: attempted.dose)


def choose(
    model: Model,
    dictionary: Dictionary,
    candidates: Sequence[Candidate],
    plain: Unsteered,
    judge: Judge,
    norm: float,
    budget: float,
) -> Choice:
    """The best candidate and dose within the budget. norm: of the residual at the site."""

    def attempt(pairs: Sequence[tuple[Candidate, float]]) -> list[Tried]:
        edits = [candidate.edit(dictionary.name, dose * norm) for candidate, dose in pairs]
        trials = try_edits(model, dictionary, edits, plain, judge)
        return [Tried(c, dose, trial) for (c, dose), trial in zip(pairs, trials, strict=True)]

    tried = attempt([(candidate, FIRST) for candidate in candidates])
    promising = sorted(tried, key=lambda attempted: -attempted.merit)[:_AGAIN]
    tried += attempt([(attempted.candidate, dose) for attempted in promising for dose in DOSES])
    singles = [attempted for attempted in tried if len(attempted.candidate.features) == 1]
    return Choice(_best(tried, budget), _best(singles, budget), tuple(tried))


def _best(tried: Sequence[Tried], budget: float) -> Tried | None:
    """The most on topic within the budget; of equals the one whose text costs less."""
    fluent = [attempted for attempted in tried if attempted.within(budget)]
    cost = {id(attempted): attempted.trial.loss_increase.mean().item() for attempted in fluent}
    return max(fluent, key=lambda attempted: (attempted.merit, -cost[id(attempted)]), default=None)
