"""JSON of which nothing is left out: no key twice, no NaN, nothing nested beyond what is read."""

from __future__ import annotations

import json
from typing import Any

from dictionaries.errors import SteerError

DEEPEST = 100
"""Levels of nesting that are read; whoever goes through the data may call itself so often."""


def read_json(text: str | bytes, refusal: str, error: type[SteerError]) -> Any:
    """The plain data that a text says.

    Raises `error`, which begins with `refusal` where the text is no JSON, also for a key that is
    there twice, of which Python's own reader takes the last, and for NaN and infinities.
    """

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        known = dict(pairs)
        if len(known) < len(pairs):
            names = [name for name, _ in pairs]
            twice = next(name for name in names if names.count(name) > 1)
            raise error(f"{twice!r} is there twice: which is meant?")
        return known

    def constant(name: str) -> Any:
        raise error(f"{name} is no number in JSON: give a finite one")

    try:
        data = json.loads(text, object_pairs_hook=once, parse_constant=constant)
    except SteerError:
        raise
    except ValueError as broken:
        raise error(f"{refusal}: {broken}") from broken
    except RecursionError as deep:
        raise error(f"{refusal}: it is nested too deeply") from deep
    if _deeper_than(DEEPEST, data):
        raise error(f"{refusal}: it is nested too deeply, beyond {DEEPEST} levels")
    return data


def _deeper_than(levels: int, data: Any) -> bool:
    """Level by level, since going down could itself be too deep."""
    level = [data]
    for _ in range(levels + 1):
        level = [node for node in level if isinstance(node, dict | list)]
        if not level:
            return False
        level = [inner for node in level for inner in _inside(node)]
    return True


def _inside(data: dict[str, Any] | list[Any]) -> list[Any]:
    return list(data.values()) if isinstance(data, dict) else data
