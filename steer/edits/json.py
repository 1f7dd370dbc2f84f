"""Tagged values from plain data, `{"kind": …, …}`; unknown kinds and keys are refused by name."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields
from typing import Any, TypeVar

from dictionaries.files.keys import refuse_unknown
from steer.errors import InterventionError

Value = TypeVar("Value")
Parsers = Mapping[str, Callable[[Any], Any]]
"""What reads the fields of these names; others are taken as they are."""


def from_tagged(
    data: Any, kinds: Mapping[str, type[Value]], what: str, parsers: Parsers | None = None
) -> Value:
    """The value of its kind, a dataclass, with its fields. Raises `InterventionError`."""
    if not isinstance(data, dict):
        raise InterventionError(f"{data!r} is no {what}; give an object with its kind")
    kind = data.get("kind")
    if not isinstance(kind, str) or kind not in kinds:
        raise InterventionError(f"{what} kind {kind!r} is unknown; allowed: {', '.join(kinds)}")
    cls: Any = kinds[kind]
    refuse_unknown(
        data,
        {"kind", *(field.name for field in fields(cls))},
        f"{what} of kind {kind}",
        InterventionError,
    )
    arguments = {
        key: parsers[key](value) if parsers and key in parsers else value
        for key, value in data.items()
        if key != "kind"
    }
    try:
        return cls(**arguments)
    except TypeError as error:
        raise InterventionError(f"{what} of kind {kind} needs more: {error}") from error


def dictionaries_named(data: object) -> Iterator[str]:
    """Values of every `dictionary` in nested plain data, such as an intervention's."""
    if isinstance(data, dict):
        if isinstance(name := data.get("dictionary"), str):
            yield name
        data = list(data.values())
    if isinstance(data, list | tuple):
        for value in data:
            yield from dictionaries_named(value)
