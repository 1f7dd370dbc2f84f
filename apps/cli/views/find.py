"""What a search for features shows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.console import RenderableType

from apps.cli.output import table

if TYPE_CHECKING:
    from steer.interpretation.find import Found


def found_document(search: Found, dictionary: str) -> dict[str, Any]:
    """Plain data; `measured` is False where the model did not read the words."""
    return {
        "words": search.words,
        "dictionary": dictionary,
        "measured": search.measured,
        "note": search.note,
        "hits": [hit.to_dict() for hit in search.hits],
    }


def found_view(search: Found, dictionary: str) -> RenderableType:
    """A row a feature, or the sentence that says why there is none."""
    if not search.hits:
        return search.note
    rows = [
        {
            "feature": hit.feature,
            "reads": hit.sides.reads,
            "writes": hit.sides.writes,
            "effect": hit.sides.effect,
            "why": hit.why,
        }
        for hit in search.hits
    ]
    return table(rows, dictionary, [search.note] if search.note else [])
