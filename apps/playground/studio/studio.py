"""The model, the dictionaries that may be used with it, and generation that can be watched.

A visitor names a dictionary in a link or a JSON, so names are looked up among those offered at
the start, never as a folder of this machine.
"""

from __future__ import annotations

import difflib
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property

from apps.playground.state.setup import Setup
from apps.playground.studio.index import Index
from apps.playground.studio.remote import Remote
from apps.playground.studio.turns import Turns
from dictionaries import catalogue
from dictionaries.dictionary import Dictionary
from steer.edits.json import dictionaries_named
from steer.errors import DictionaryError, PromptError, SteerError
from steer.lm.hookpoints import is_hookpoint
from steer.lm.prompts import Prompt, read_prompt
from steer.model import Model
from steer.runs.generate import Run
from steer.runs.sampling import OnStep
from steer.runs.stream import Stream


class Shelf:
    """The dictionaries on offer, loaded when first used."""

    def __init__(
        self, model: Model, names: Sequence[str], given: Sequence[Dictionary] = ()
    ) -> None:
        self._model = model
        self.loaded = {dictionary.name: dictionary for dictionary in given}
        self._indices: dict[str, Index] = {}
        self._lock = threading.RLock()
        self.names = tuple(dict.fromkeys((*self.loaded, *names)))

    def __getitem__(self, name: str) -> Dictionary:
        """Raises `DictionaryError` for a name that is not on offer."""
        if name not in self.names:
            near = difflib.get_close_matches(name, self.names, n=1, cutoff=0.5)
            hint = f" Did you mean {near[0]}?" if near else ""
            raise DictionaryError(
                f"dictionary {name!r} is not one of this app's: {', '.join(self.names)}.{hint}"
            )
        with self._lock:
            if name not in self.loaded:
                self.loaded[name] = self._model.dictionary(name)
            return self.loaded[name]

    def index(self, name: str) -> Index:
        """What can be searched of a dictionary; built once."""
        dictionary = self[name]
        with self._lock:
            if name not in self._indices:
                self._indices[name] = Index(dictionary, self._model.token, self._model)
            return self._indices[name]

    def used(self, setup: Setup) -> list[Dictionary]:
        """Every dictionary that the active edits name, also inside a direction or a condition."""
        names = {name for row in setup.active for name in dictionaries_named(row.to_dict())}
        return [self[name] for name in sorted(names) if not is_hookpoint(name)]


@dataclass(frozen=True, eq=False)
class Studio:
    """What every session shares."""

    model: Model
    shelf: Shelf
    turns: Turns = field(default_factory=Turns)
    streams: dict[str, Stream] = field(default_factory=dict)
    """session -> its generation"""
    jobs: dict[str, list[threading.Event]] = field(default_factory=dict)
    """session -> of each thing that it has running or in the line, whether it is to end"""
    cancelled: dict[str, int] = field(default_factory=dict)
    """session -> the last of its requests that it cancelled, by the page's own count"""
    searched: dict[str, int] = field(default_factory=dict)
    """session -> the last of its searches for a feature, by the page's own count"""
    beside: list[str] = field(default_factory=list)
    """What is at work now and is no run: the runs have a line of their own."""
    remote: Remote | None = None
    """The server that writes the texts; None if the model here does"""

    @cached_property
    def default(self) -> str:
        return self.shelf.names[0]

    def prompt(self, setup: Setup) -> str | list[dict[str, str]]:
        """What the model continues: the text, or a chat whose only message it is."""
        if not setup.prompt.strip():
            raise PromptError("the prompt is empty: write something to continue")
        return [{"role": "user", "content": setup.prompt}] if setup.chat else setup.prompt

    def read(self, setup: Setup) -> Prompt:
        """The prompt as the model reads it, with its token ids."""
        return read_prompt(self.model, self.prompt(setup))

    def check(self, setup: Setup) -> None:
        """Raises what a run would raise at once, for one that has to wait."""
        self.read(setup)
        self.model.plans(setup.interventions(), self.shelf.used(setup))

    @contextmanager
    def stream(self, setup: Setup, session: str = "") -> Iterator[Stream]:
        """Its generation, begun before this returns; when left, the model is soon free.

        All that it takes is done in its own thread: what is wrong with it is raised by its result.
        """
        tokenizer = self.model.tokenizer
        stream = Stream(
            lambda on_step, on_first: self.run(setup, on_step, on_first),
            lambda ids: str(tokenizer.decode(ids, skip_special_tokens=True)),
        )
        self.streams[session] = stream
        if any(stop.is_set() for stop in self.jobs.get(session, ())):
            stream.cancel()
        try:
            yield stream
        finally:
            stream.cancel()
            if self.streams.get(session) is stream:
                del self.streams[session]

    def run(
        self, setup: Setup, on_step: OnStep | None = None, on_first: OnStep | None = None
    ) -> Run:
        """The run, watched or not."""
        if self.remote:
            return self.remote.run(
                self.model,
                self.read(setup),
                setup.interventions(),
                self.shelf.used(setup),
                setup.sampling,
                on_step,
                on_first,
            )
        return self.model.generate(
            self.prompt(setup),
            setup.interventions(),
            dictionaries=self.shelf.used(setup),
            if_silent="ignore",
            on_step=on_step,
            on_first=on_first,
            **setup.sampling,
        )

    @contextmanager
    def working(self, what: str) -> Iterator[None]:
        """Work that is no run, told to the runs that it may hold up."""
        self.beside.append(what)
        try:
            yield
        finally:
            self.beside.remove(what)

    @contextmanager
    def job(self, session: str, asked: int) -> Iterator[threading.Event]:
        """Work of a session that `stop` can end, for as long as it runs or waits for its turn.

        asked: its number among the session's requests; it is to end at once if its cancel came
        first, as happens where both are clicked in a moment.
        """
        stop = threading.Event()
        self.jobs[session] = [*self.jobs.get(session, []), stop]
        if asked <= self.cancelled.get(session, 0):
            stop.set()
        try:
            yield stop
        finally:
            left = [waiting for waiting in self.jobs[session] if waiting is not stop]
            if left:
                self.jobs[session] = left
            else:
                del self.jobs[session]

    def stop(self, session: str, asked: int = 0) -> bool:
        """End a session's generation at its next token, its measurement at its next dose.

        asked: of the session's requests, the last that is not to begin any more.
        False if nothing of it runs or waits for its turn.
        """
        self.cancelled[session] = max(asked, self.cancelled.get(session, 0))
        jobs = self.jobs.get(session, [])
        for job in jobs:
            job.set()
        if stream := self.streams.get(session):
            stream.cancel()
        return bool(jobs)


def offered(model: str, dictionary: str | None) -> list[str]:
    """Names to offer for a model: the one asked for, then the catalogue's of the same model.

    Raises `SteerError` if there are none.
    """
    known = [name for name in catalogue.names() if name.split("/")[0] == model]
    preferred = sorted(known, key=_layer, reverse=True)
    names = [dictionary, *preferred] if dictionary else preferred
    if not names:
        raise SteerError(
            f"no dictionary is known for {model}: give one with --dictionary, a folder or a name"
        )
    return list(dict.fromkeys(names))


def _layer(name: str) -> int:
    digits = name.rpartition(".")[2]
    return int(digits) if digits.isdigit() else -1
