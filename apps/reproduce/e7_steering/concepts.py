"""Concepts that the README's features steer, each with the pattern that finds it in a text."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Concept:
    """feature: of `smollm2-135m/resid_post.20`, picked by its label.

    pattern: regular expression of what counts as a mention; capitals don't matter.
    hint: what a prompt asks for, as the baseline without any edit.
    """

    name: str
    feature: int
    pattern: str
    hint: str


def _words(text: str) -> str:
    return rf"\b(?:{text.replace(' ', '|')})\b"


_COMPARATIVES = _words(
    "than more less better worse larger smaller bigger older newer younger longer shorter higher "
    "lower taller wider thicker thinner faster slower easier harder stronger weaker lighter "
    "heavier darker brighter deeper closer further warmer colder cheaper greater fewer richer"
)
_SUPERLATIVES = _words(
    "most least best worst largest smallest biggest oldest newest youngest longest shortest "
    "highest lowest tallest finest greatest strongest richest fastest easiest hardest deepest "
    "closest earliest latest proudest happiest favourite favorite"
)
_INFORMAL = r"!|\b(?:lol|xd|wow|haha|awesome|cool|yeah|omg|gonna|kinda|dude|super|hey|yay)\b"
CONCEPTS = (
    Concept("comparatives", 1176, _COMPARATIVES, "Compare things: say what is better or larger."),
    Concept("superlatives", 2259, _SUPERLATIVES, "Say what is the best, the most, the largest."),
    Concept("but", 5520, _words("but"), "Use the word but in every sentence."),
    Concept(
        "spans of time",
        1532,
        r"\b(?:decade|year|month|week|day|hour|minute|centur(?:y|ies)|lifetime)s?\b",
        "Say how many years, months, days or hours things take.",
    ),
    Concept("informal speech", 641, _INFORMAL, "Write in excited, informal slang!"),
    Concept(
        "each, every, per",
        571,
        r"\b(?:each|every|per|everyone|everything|everyday)\b",
        "Use the words each, every and per.",
    ),
    Concept(
        "problems",
        3370,
        r"\b(?:problem|issue|trouble|difficult(?:y|ies)?|challenge)s?\b",
        "Mention the problems and difficulties.",
    ),
    Concept(
        "focus",
        2711,
        r"\b(?:focus\w*|attention|concentrat\w*)\b",
        "Speak of focus and attention.",
    ),
    Concept("digits", 4159, r"\d", "Use numbers written as digits."),
)
