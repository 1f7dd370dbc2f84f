"""From comparisons to one of four words."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from steer.maths.statistics import Interval
from steer.verdicts.compare import Comparison, Effect, Harm
from steer.verdicts.protocol import Protocol

Word = Literal["steers", "no better than", "harms", "undecided"]

NO_EDIT = "no edit"


@dataclass(frozen=True)
class Decision:
    """The word; than what, or what it harms; how many more prompts would tell; why.

    what: a control, `no edit` (in a wording), or a behaviour; None for `steers`.
    """

    word: Word
    what: str | None
    more: int | None
    why: str

    def __str__(self) -> str:
        if self.word == "undecided":
            return f"undecided: {self.more} more prompts would tell"
        return self.word if self.what is None else f"{self.word} {self.what}"


def decide(
    effect: Effect,
    controls: Sequence[Comparison],
    harmed: Sequence[Harm],
    protocol: Protocol,
) -> Decision:
    """`steers` if it does what is claimed in every wording, better than each decisive control, and
    harms nothing of the panel.

    What it is not better than can be made up for by more prompts where its mean is better; where
    more than the protocol's `most_prompts` were needed, or the mean is no better, it is not.
    """
    missed = {
        name: advantage
        for name, advantage in _needed(effect, controls)
        if not advantage.low > 0  # a NaN is missed too
    }
    needed = {name: prompts_needed(advantage) for name, advantage in missed.items()}
    for name, count in needed.items():
        if count is None or count > protocol.most_prompts:
            return Decision("no better than", name, None, _beside(name, missed[name]))
    if needed:
        name = max(needed, key=lambda control: needed[control] or 0)
        more = max((needed[name] or 0) - missed[name].n, 1)
        return Decision("undecided", name, more, _beside(name, missed[name]))
    for harm in harmed:
        if harm.harmed:
            return Decision("harms", harm.behaviour, None, _lost(harm))
    return Decision("steers", None, None, f"moves what is claimed by {effect.whole} logits")


def prompts_needed(advantage: Interval) -> int | None:
    """How many prompts of the same spread would put the interval above 0; None if none would."""
    half = advantage.mean - advantage.low
    if not advantage.mean > 0 or not math.isfinite(half):
        return None
    return math.ceil(advantage.n * (half / advantage.mean) ** 2)


def _needed(effect: Effect, controls: Sequence[Comparison]) -> Iterator[tuple[str, Interval]]:
    yield from ((f"{NO_EDIT} ({name})", wording) for name, wording in effect.wordings.items())
    yield from ((control.control, control.advantage) for control in controls if control.decisive)


def _beside(name: str, advantage: Interval) -> str:
    return f"beyond {name} by {advantage} logits over {advantage.n} prompts"


def _lost(harm: Harm) -> str:
    return (
        f"takes {harm.lost} of the {harm.clean:.3g} logits by which right is before wrong, where "
        f"random directions of its cost stay under {harm.bound:.3g}"
    )


def untested_said(untested: Mapping[str, str]) -> list[str]:
    return [f"{name} not tested: {why}" for name, why in untested.items()]
