"""What of a growing text is settled: no later token can change it or make it end sooner."""

from __future__ import annotations

from collections.abc import Sequence

_HALF_A_LETTER = "\ufffd"


def cut(text: str, stops: Sequence[str]) -> str | None:
    """The text before the first stop in it, None if there is none."""
    places = [place for stop in stops if (place := text.find(stop)) >= 0]
    return text[: min(places)] if places else None


def settled(text: str, stops: Sequence[str]) -> str:
    """The text without an end that may be half a letter, or the beginning of a stop."""
    whole = text.rstrip(_HALF_A_LETTER)
    begun = max((_begun(whole, stop) for stop in stops), default=0)
    return whole[: len(whole) - begun]


def _begun(text: str, stop: str) -> int:
    """How many letters at the end of the text begin the stop."""
    longest = min(len(stop) - 1, len(text))
    return next((n for n in range(longest, 0, -1) if text.endswith(stop[:n])), 0)
