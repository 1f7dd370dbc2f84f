"""A word becomes a group of edits: the search, what it reports meanwhile, and what it found."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from dataclasses import dataclass

from apps.playground.state.groups import Group
from apps.playground.state.setup import Row
from apps.playground.studio.apart import apart
from apps.playground.studio.studio import Studio
from steer.concepts.concept import concept
from steer.concepts.result import Concept
from steer.errors import SteerError
from steer.lm.default_model import NAME as DEFAULT_MODEL
from steer.threads import begin

_BEYOND = 1.3
"""How far the slider goes past the largest dose that was tried, where that was still fluent."""
_TICK = 1.0
"""Seconds after which it is said again."""


@dataclass(frozen=True)
class Doing:
    """What the search is at. done, total: of this step."""

    what: str
    done: int
    total: int


def search(
    studio: Studio, word: str, dictionary: str, stop: threading.Event
) -> Iterator[Doing | Concept]:
    """What it is at, as it goes on, and at last the concept; nothing more once `stop` is set.

    dictionary: for models that have none of their own for this. Raises what `steer.concept` does.
    """
    told: queue.SimpleQueue[Doing | Concept | Exception] = queue.SimpleQueue()

    def report(what: str, done: int, total: int) -> None:
        if stop.is_set():
            raise SteerError("Stopped.")
        told.put(Doing(what, done, total))

    def work() -> None:
        given = None if studio.model.name == DEFAULT_MODEL else studio.shelf[dictionary]
        try:
            told.put(apart(concept)(studio.model, word, dictionary=given, progress=report))
        except Exception as error:
            told.put(error)

    last = Doing("beginning", 0, 1)
    begin(work, stop.set)
    while not stop.is_set():
        try:
            said = told.get(timeout=_TICK)
        except queue.Empty:
            yield last  # its seconds go on
            continue
        if isinstance(said, Exception):
            raise said
        yield said
        if isinstance(said, Concept):
            return
        last = said


def rows_of(result: Concept) -> tuple[Row, ...]:
    """Its edits as one group; none if there is nothing here."""
    if result.intervention is None:
        return ()
    beyond = [dose.dose for dose in result.doses if not dose.fluent and dose.dose > result.dose]
    breaking = min(beyond, default=_BEYOND * max(dose.dose for dose in result.doses))
    group = Group(result.word, result.dose, result.dose, breaking)
    return tuple(Row(result.dictionary, edit, group=group) for edit in result.intervention.edits)
