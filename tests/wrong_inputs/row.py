"""A wrong input, and what a person has to be told about it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import steer


class Place(NamedTuple):
    """What rows refer to: a tiny model, its dictionary, and a folder with files of every kind."""

    folder: Path
    model: steer.Model
    sae: steer.Dictionary


@dataclass(frozen=True)
class Typed:
    """A command line: {place} is the folder, {tiny} the model and dictionary as options.

    words: all of them must be said. without: modules that are not installed.
    """

    line: str
    words: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    without: tuple[str, ...] = ()


@dataclass(frozen=True)
class Called:
    """A call from Python; the error's message must have all the words."""

    call: Callable[[Place], Any]
    words: tuple[str, ...]


def typed(line: str, *words: str, without: str = "", **environment: str) -> Typed:
    return Typed(line, words, environment, tuple(without.split()))


def called(call: Callable[[Place], Any], *words: str) -> Called:
    return Called(call, words)
