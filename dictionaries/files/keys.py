"""Keys of what somebody else wrote: known, or refused by name.

A key of a foreign config that is skipped may be one that changes what is computed, and then every
feature is wrong without a word. So a format declares the keys that it reads and those that are
known to change nothing, and whatever else a file says is an error.
"""

from __future__ import annotations

import reprlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dictionaries.errors import FormatError


@dataclass(frozen=True)
class Keys:
    """What a format knows of one object of a config.

    used: keys that are read.
    harmless: keys that say nothing of encoding or decoding, whatever they hold.
    only: keys of which just these values are what is computed here.
    inside: the same of objects within it, by key.
    """

    used: Collection[str]
    harmless: Collection[str] = ()
    only: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    inside: Mapping[str, Keys] = field(default_factory=dict)

    def check(self, said: Mapping[str, Any], path: Path, within: str = "") -> None:
        """Raise `FormatError` for a key that is not known, or holds what can't be computed."""
        known = {*self.used, *self.harmless, *self.only, *self.inside}
        if unknown := {f"{within}{key}": value for key, value in said.items() if key not in known}:
            listed = ", ".join(f"{key} = {reprlib.repr(unknown[key])}" for key in sorted(unknown))
            raise FormatError(
                f"{path} says {listed}, which is not known here: it may change what is computed, "
                "and then every feature would be wrong. Report it, with where the file is from; if "
                "it says nothing of encoding and decoding, take it out of a copy of the file"
            )
        for key, allowed in self.only.items():
            if key in said and not any(_same(said[key], value) for value in allowed):
                raise FormatError(
                    f"{path} says {within}{key} = {reprlib.repr(said[key])}, which can't be read; "
                    f"allowed: {', '.join(map(repr, allowed))}"
                )
        for key, keys in self.inside.items():
            if isinstance(said.get(key), Mapping):
                keys.check(said[key], path, f"{within}{key}.")


def _same(value: object, allowed: object) -> bool:
    """Equal, where true is no 1 and false no 0."""
    return value == allowed and isinstance(value, bool) == isinstance(allowed, bool)


def refuse_unknown(
    data: Mapping[str, Any], allowed: Collection[str], what: str, error: type[Exception]
) -> None:
    """Raise `error` that names the keys which `data` should not have, and those that it may."""
    if unknown := sorted(map(str, set(data) - set(allowed))):
        raise error(
            f"{what} has no {', '.join(map(repr, unknown))}; allowed: {', '.join(sorted(allowed))}"
        )
