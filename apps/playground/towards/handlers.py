"""What happens when a word is to be steered towards."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import gradio as gr

from apps.playground.find.handlers import Looking, sentence
from apps.playground.html.markup import notice
from apps.playground.state.desk import Desk
from apps.playground.state.setup import Row, Setup
from apps.playground.studio.apart import apart
from apps.playground.towards.search import Doing, rows_of, search
from apps.playground.towards.view import doing_view, found_view
from steer.errors import SteerError


class Towards(Looking):
    """The handler of the box; a mistake becomes a sentence below it."""

    def drawn(self, desk: Desk) -> tuple[Desk, str]:
        """The list of edits as HTML, and the desk that knows of it."""
        raise NotImplementedError

    def untouched(self, desk: Desk) -> bool:
        raise NotImplementedError

    def towards(
        self, request: gr.Request, asked: int, word: str, dictionary: str
    ) -> Iterator[tuple[Any, ...]]:
        """(what is said, what is to be placed): how far it is, and at last the word's edits.

        What is said of edits is placed with them: who reads it may press Run at once.
        """
        session, begun = str(request.session_hash), time.monotonic()
        with (
            self.studio.job(session, asked) as stop,
            self.studio.working("a search for a word’s features"),
        ):
            try:
                for at in search(self.studio, word or "", dictionary, stop):
                    if isinstance(at, Doing):
                        seconds = time.monotonic() - begun
                        yield doing_view(word, at, seconds), ()
                        continue
                    rows, said = rows_of(at), found_view(at)
                    yield (gr.skip(), (rows, said)) if rows else (said, ())
                if stop.is_set():
                    yield notice("Stopped: the edits are as they were."), ()
            except Exception as error:
                yield notice(sentence(error), "error"), ()

    @apart
    def place(self, added: tuple[()] | tuple[tuple[Row, ...], str], desk: Desk) -> tuple[Any, ...]:
        """A search's edits among those that are there by now: (said, none left, desk, rows).

        The demonstration that nobody touched makes room.
        """
        if not added:
            return (gr.skip(),) * 4
        new, said = added
        rows = (*(() if self.untouched(desk) else desk.rows), *new)
        try:
            Setup("x", rows=rows)
        except SteerError as error:
            return notice(sentence(error), "error"), (), gr.skip(), gr.skip()
        return said, (), *self.drawn(desk.change(rows))
