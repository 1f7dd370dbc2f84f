"""What is wrong with a request's fields, in a sentence: which field, its value, what is allowed."""

from __future__ import annotations

import json
from typing import Any

from pydantic import ValidationError
from pydantic.alias_generators import to_snake

_SHOWN = 60
"""Characters of a value that a message repeats."""
_NOT_ALLOWED = "which is not allowed: /openapi.json says what is"
_SEVERAL = {
    "prompt": "a text, token ids, or at most 64 of either, none of them empty",
    "stop": "a text or at most 16 of them, none empty",
    "content": 'a text, or a list of {"type": "text", "text": …}',
}
"""Fields of several forms, of which each would name itself alone."""
_ALLOWED = {
    "string_type": "a text",
    "int_type": "an integer",
    "int_from_float": "an integer",
    "float_type": "a number",
    "bool_type": "true or false",
    "list_type": "a list",
    "dict_type": "an object",
    "model_type": "an object",
    "model_attributes_type": "an object",
    "finite_number": "a finite number",
    "greater_than_equal": "at least {ge}",
    "greater_than": "more than {gt}",
    "less_than_equal": "at most {le}",
    "less_than": "less than {lt}",
    "string_too_short": "a text that is not empty",
    "too_short": "a list of at least {min_length}",
    "too_long": "a list or an object of at most {max_length}",
    "literal_error": "{expected}",
}
"""By the kinds of errors that pydantic names."""


def refused(error: ValidationError, body: Any) -> str:
    """The first thing that is wrong in a body as it was sent."""
    first = error.errors(include_url=False)[0]
    path = _path(body, first["loc"], missing=first["type"] in ("missing", "extra_forbidden"))
    if first["type"] == "extra_forbidden":
        return f"unknown field {path!r}: it would not act, so it is refused"
    if first["type"] == "missing":
        return f"{path} is missing: it has to be said"
    several = next((name for name in path.split(".") if name in _SEVERAL), None)
    if several is not None and len(path.split(".")) < len(first["loc"]):
        at, value = _of_field(path, several, body)
        return f"{at} is {_shown(value)}; give {_SEVERAL[several]}"
    said = f"{path or 'the body'} is {_shown(first['input'])}"
    words = _ALLOWED.get(first["type"])
    if words is None:
        return f"{said}, {_NOT_ALLOWED}"
    return f"{said}; give {words.format(**_bounds(first.get('ctx', {})))}"


def _path(body: Any, location: tuple[int | str, ...], *, missing: bool) -> str:
    """Fields and numbers that the body has; forms that pydantic tried are named there too."""
    kept, at = [], body
    for number, part in enumerate(location):
        if isinstance(at, dict) and isinstance(part, str):
            other = to_snake(part)  # Neuronpedia's names, in either case
            name = other if other in at else part
            found, at = name in at, at.get(name, at)
        elif isinstance(at, list) and isinstance(part, int):
            name, found, at = str(part), True, at[part]
        else:
            name, found = str(part), False
        if found or (missing and number == len(location) - 1):
            kept.append(name)
    return ".".join(kept)


def _of_field(path: str, field: str, body: Any) -> tuple[str, Any]:
    """Where a field is, and all of its value."""
    parts = path.split(".")
    kept = parts[: parts.index(field) + 1]
    at = body
    for part in kept:
        at = at[int(part)] if isinstance(at, list) else at[part]
    return ".".join(kept), at


def _bounds(context: dict[str, Any]) -> dict[str, Any]:
    """Whole numbers without their `.0`."""
    return {
        name: int(bound) if isinstance(bound, float) and bound.is_integer() else bound
        for name, bound in context.items()
    }


def _shown(value: Any) -> str:
    said = json.dumps(value, ensure_ascii=False, default=repr)
    return said if len(said) <= _SHOWN else f"{said[:_SHOWN]}…"
