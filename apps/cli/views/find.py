"""What a search for features shows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.console import RenderableType

from apps.cli.output import table

if TYPE_CHECKING:
    from steer.interpretation.find import Found


def found_document(found: Found, dictionary: str) -> dict[str, Any]:
    """Plain data; `measured` is False where the model did not read the words."""
    return {
        "words": found.words,
        "dictionary": dictionary,
        "measured": found.measured,
        "note": found.note,
        "hits": [hit.to_dict() for hit in found.hits],
    }


def found_view(found: Found, dictionary: str) -> RenderableType:
    """A row a feature, or the sentence that says why there is none."""
    if not found.hits:
        return found.note
    rows = [
        {
            "feature": hit.feature,
            "reads": hit.sides.reads,
            "writes": hit.sides.writes,
            "effect": hit.sides.effect,
            "why": hit.why,
        }
        for hit in found.hits
    ]
    return table(rows, dictionary, [found.note] if found.note else [])
