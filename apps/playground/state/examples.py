"""States worth a click, of the default model and its dictionary at block 20."""

from __future__ import annotations

from dataclasses import dataclass

from apps.playground.state.setup import Row, Setup
from steer.edits import Clamp, Edit, Scale

BEGIN = Setup("My favourite thing about the city is")
"""What the page shows before anything is typed: a prompt that leaves room for any topic."""
DICTIONARY = "smollm2-135m/resid_post.20"


@dataclass(frozen=True)
class Example:
    """A title, what to look for, and the state."""

    title: str
    look: str
    setup: Setup


def _example(title: str, look: str, prompt: str, edit: Edit) -> Example:
    return Example(title, look, Setup(prompt, rows=(Row(DICTIONARY, edit),)))


EXAMPLES = (
    _example(
        "Everything compared",
        "longer, wider, thicker, lighter: comparatives at twice their maximum",
        "The old bridge",
        Clamp(1176, "2x max"),
    ),
    _example(
        "A devout city",
        "“god” and “earth” at twice their maximum: endless love, and something infinite",
        "My favourite thing about the city is",
        Clamp(1840, "2x max"),
    ),
    _example(
        "From crimes to music",
        "“music” at twice its maximum: gruesome crimes become music, literature and art",
        "The history of the town",
        Clamp(5270, "2x max"),
    ),
    _example(
        "Too much",
        "“she” at four times its maximum: the text breaks, and the page says so",
        "The doctor walked into the room and",
        Clamp(4973, "4x max"),
    ),
    _example(
        "An edit that does nothing",
        "five times “war”, a feature that is silent in a recipe: the receipt says so",
        "The recipe needs two cups of",
        Scale(1842, 5.0),
    ),
)
