"""A wrong input, and what a person has to be told about it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

import steer


class Place(NamedTuple):
    """What rows refer to: a tiny model, its dictionary, and a folder with files of every kind."""

    folder: Path
    model: steer.Model
    sae: steer.Dictionary


@dataclass(frozen=True)
class Typed:
    """A command line: {place} is the folder, {tiny} the model and dictionary as options.

    words: all of them must be said. without: modules that are not installed; needs: one that is.
    """

    line: str
    words: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    without: tuple[str, ...] = ()
    needs: str = ""


@dataclass(frozen=True)
class Called:
    """A call from Python; the error's message must have all the words."""

    call: Callable[[Place], Any]
    words: tuple[str, ...]


Site = Literal["serve", "page"]


@dataclass(frozen=True)
class Asked:
    """A request to `steer serve` or to the page, both with a key.

    body: sent as it is if bytes, else as JSON. Its answer must have this status and all the words.
    """

    site: Site
    method: str
    path: str
    body: Any
    headers: Mapping[str, str]
    status: int
    words: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.site} {self.path} {' '.join(self.words)[:40]}"


def typed(line: str, *words: str, without: str = "", needs: str = "", **environment: str) -> Typed:
    return Typed(line, words, environment, tuple(without.split()), needs)


def called(call: Callable[[Place], Any], *words: str) -> Called:
    return Called(call, words)
