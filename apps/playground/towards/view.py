"""What the box "steer towards" says."""

from __future__ import annotations

from apps.playground.html.markup import esc, notice
from apps.playground.towards.search import Doing
from steer.concepts.result import Concept


def doing_view(word: str, at: Doing, seconds: float) -> str:
    """How far a search is."""
    share = at.done / at.total if at.total else 0.0
    step = at.what.removeprefix(f"{word}: ")
    said = f"looking for “{esc(word)}”: {esc(step)} · {seconds:.0f} s"
    return (
        f'<div class="doing"><p class="count">{said}</p>'
        f'<div class="bar"><i style="width:{share:.0%}"></i></div></div>'
    )


def found_view(concept: Concept) -> str:
    """The verdict, and what was done about it."""
    done = {
        "works": "It is in the edits: press Run.",
        "weak": "It is in the edits all the same: press Run, and judge by the texts.",
        "none here": "The edits are as they were.",
    }
    added = done[concept.verdict] if concept.intervention else done["none here"]
    kind = "info" if concept.verdict == "works" and concept.intervention else "warn"
    return notice(f"“{concept.word}”: {concept.verdict}. {concept.reason}. {added}", kind)
