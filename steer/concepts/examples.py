"""Texts about a word, texts about other words, and texts about nothing in particular."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from steer.concepts.answers import NOTHING, background, halves
from steer.errors import SteerError
from steer.progress import Progress

if TYPE_CHECKING:
    from steer.model import Model

MOST_WORDS, MOST_LETTERS = 5, 80
"""What a concept is named in."""
FEWEST = 4
"""Least sentences of a user's: half of them choose and half decide."""


@dataclass(frozen=True)
class Examples:
    """What a concept is told from.

    fit, held_out: texts about it that choose features, and that decide; no text is in both.
    neutral: texts about nothing in particular; others: texts about each other word.
    made: whether the model wrote `fit` and `held_out`.
    """

    fit: tuple[str, ...]
    held_out: tuple[str, ...]
    neutral: tuple[str, ...]
    others: dict[str, tuple[str, ...]]
    made: bool


def gather(
    model: Model,
    word: str,
    examples: Sequence[str] | None,
    against: Sequence[str] | None,
    seed: int,
    progress: Progress | None,
) -> Examples:
    """The user's sentences or the model's own, in two halves. Raises `SteerError` for too few."""
    given = None if examples is None else check_texts("examples", examples)
    away = None if against is None else check_texts("against", against)
    if given and away and (shared := sorted(set(given) & set(away))):
        raise SteerError(
            f"{shared[0]!r} is given both as an example and against it; "
            "take it out of one of the two"
        )
    others = background(model, seed, progress)
    neutral = away or others.get(NOTHING, ())
    others = {name: texts for name, texts in others.items() if name not in _names(word)}
    fit, held_out = (given[::2], given[1::2]) if given else halves(model, word, seed, progress)
    if min(len(fit), len(held_out), len(neutral)) < FEWEST // 2 or not others:
        raise SteerError(
            f"{model.name} answers hardly anything when it is asked about {word!r} or about other "
            "things; give sentences as examples and against, or a model that follows instructions"
        )
    return Examples(fit, held_out, neutral, others, made=given is None)


def _names(word: str) -> tuple[str, ...]:
    """What is no other word: the concept's own, and nothing in particular."""
    return (NOTHING, *word.lower().split())


def check_word(word: object) -> str:
    """The word without space around it. Raises `SteerError` for none, or for more than a phrase."""
    if not isinstance(word, str) or not any(letter.isalnum() for letter in word):
        raise SteerError(f"a concept is a word or a short phrase such as 'ocean', not {word!r}")
    words = word.split()
    if len(words) > MOST_WORDS or len(word) > MOST_LETTERS:
        raise SteerError(
            f"a concept is named in at most {MOST_WORDS} words and {MOST_LETTERS} letters, and "
            f"this has {len(words)} words and {len(word)} letters; give sentences as examples"
        )
    return " ".join(words)


def check_texts(name: str, texts: Sequence[str]) -> tuple[str, ...]:
    """Different texts, in order. Raises `SteerError` for fewer than `FEWEST`, or an empty one."""
    if isinstance(texts, str) or not all(isinstance(text, str) for text in texts):
        raise SteerError(f"{name} is a list of sentences, not {texts!r}")
    if any(not text.strip() for text in texts):
        raise SteerError(f"{name} has an empty sentence; leave it out")
    different = tuple(dict.fromkeys(text.strip() for text in texts))
    if len(different) < FEWEST:
        raise SteerError(
            f"{name} has {len(different)} different sentences and needs {FEWEST} or more, since "
            "half of them choose and half decide; give more, or none and the model writes them"
        )
    return different
