"""Keys of what somebody else wrote: known, or refused by name."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any


def refuse_unknown(
    data: Mapping[str, Any], allowed: Collection[str], what: str, error: type[Exception]
) -> None:
    """Raise `error` that names the keys which `data` should not have, and those that it may."""
    if unknown := sorted(map(str, set(data) - set(allowed))):
        raise error(
            f"{what} has no {', '.join(map(repr, unknown))}; allowed: {', '.join(sorted(allowed))}"
        )
