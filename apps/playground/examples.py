"""States worth a click, of the default model and its dictionary."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Example:
    """A title, what to look for, and a state as the app's JSON has it."""

    title: str
    look: str
    state: dict[str, Any]


EXAMPLES: tuple[Example, ...] = ()
