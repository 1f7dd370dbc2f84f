"""What the READMEs say of fourteen features, as claims that can be tested.

Each says what its name says, at the README's dose. The words were written down from the names
alone, before any of these verdicts was run; those beside are other forms of the same words where
the name is of a form, and the same five nouns of no subject where it is of a subject.
"""

from __future__ import annotations

from dataclasses import dataclass

from steer.verdicts.claim import Claim

_NOUNS = (" house", " book", " table", " road", " garden")


@dataclass(frozen=True)
class Named:
    """A feature of `resid_post.20`, what it is said to write, its dose, and the claim."""

    feature: int
    name: str
    dose: str
    claim: Claim


def _named(feature: int, name: str, dose: str, more: str, less: str = "") -> Named:
    """more, less: words, each a token with its space before it."""
    beside = [f" {word}" for word in less.split()] or list(_NOUNS)
    return Named(feature, name, dose, Claim([f" {word}" for word in more.split()], beside))


STEER = (
    _named(
        *(1176, "comparatives", "2x max"),
        *("longer larger better higher stronger", "long large good high strong"),
    ),
    _named(
        *(2259, "superlatives", "0.5x max"),
        *("longest largest best highest strongest", "long large good high strong"),
    ),
    _named(5520, "but", "0.8x max", "but But yet", "and And so"),
    _named(1532, "spans of time", "0.4x max", "years decades months weeks days"),
    _named(
        *(641, "excited, informal speech", "1.5x max"),
        *("awesome cool guys yeah", "good nice fine yes"),
    ),
    _named(571, "every, each, per", "1.2x max", "every each per", "some the a"),
    _named(3370, "problems", "1.5x max", "problem problems issue trouble"),
    _named(2631, "questions", "1.2x max", "question questions ask asked"),
    _named(2711, "focus, attention", "2x max", "focus attention focused concentrate"),
    Named(
        *(4159, "digits", "1.5x max"),
        Claim(["1", "2", "3", "5"], [" one", " two", " three", " five"]),
    ),
    _named(1491, "the whole of something", "1.5x max", "whole entire all", "half part some"),
)
"""Those that are said to steer."""
DO_NOT = (
    _named(4973, "she", "2x max", "she her", "he his"),
    _named(1925, "dangers, warnings", "2x max", "danger dangers warning risk"),
    _named(727, "diseases", "1.5x max", "disease diseases illness infection"),
)
"""Those that are said not to show it in a text."""
