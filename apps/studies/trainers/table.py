"""What the turns say: a line a trainer, and how far ours is from the goals."""

from __future__ import annotations

from statistics import median
from typing import Any

from apps.studies.trainers.bench import Benched, Turn
from apps.studies.trainers.trainers import OURS, OURS_BF16

GOALS = {"sparsify": 1.5, "sae-lens": 3.0, "dictionary_learning": 3.0}
"""How many times as many samples a second ours is to train in fp32."""


def lines(benched: Benched) -> list[dict[str, Any]]:
    """Samples a second, and how many times as many ours trains: medians over the rounds.

    The first round is left out where there are others: trainers then make what they keep.
    """
    return [
        {
            "trainer": name,
            "version": version,
            "samples_a_second": median(
                turn.samples / turn.processor_seconds for turn in _of(benched, name)
            ),
            "by_the_clock": median(
                turn.samples / turn.clock_seconds for turn in _of(benched, name)
            ),
            "steer_is_times": _times(benched, OURS, name),
            "in_bf16": _times(benched, OURS_BF16, name),
            "FVU": benched.fvu[name],
        }
        for name, version in benched.versions.items()
    ]


def goals(benched: Benched) -> list[str]:
    """A sentence a library: both in fp32 beside the goal, and ours in bf16 beside its fastest way.

    Nothing of a library of which either was not run.
    """
    said = []
    for library, least in GOALS.items():
        if (ratio := _times(benched, OURS, library)) is None:
            continue
        reached = "reached" if ratio >= least else "not reached"
        sentence = f"{ratio:.2f} times {library} in fp32 (goal {least:g}: {reached})"
        ways = [name for name in benched.versions if name.partition(",")[0] == library]
        quicker = [_times(benched, OURS_BF16, name) for name in ways]
        if low := [ratio for ratio in quicker if ratio is not None]:
            sentence += f"; chosen in bf16, {min(low):.2f} times its fastest way"
        said.append(sentence)
    return said


def _of(benched: Benched, name: str) -> list[Turn]:
    first = min(1, benched.size.rounds - 1)
    return [turn for turn in benched.turns if turn.trainer == name and turn.round >= first]


def _times(benched: Benched, ours: str, name: str) -> float | None:
    """Median over the rounds of its seconds over those of ours; None if ours was not run."""
    pairs = zip(_of(benched, name), _of(benched, ours), strict=False)
    ratios = [theirs.processor_seconds / mine.processor_seconds for theirs, mine in pairs]
    return median(ratios) if ratios else None
