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
from apps.playground.towards.search import Doing, rows_of, search
from apps.playground.towards.view import doing_view, found_view


class Towards(Looking):
    """The handler of the box; a mistake becomes a sentence below it."""

    def rows(self, desk: Desk) -> str:
        """The list of edits as HTML."""
        raise NotImplementedError

    def untouched(self, desk: Desk) -> bool:
        raise NotImplementedError

    def towards(
        self, request: gr.Request, asked: int, word: str, desk: Desk, dictionary: str
    ) -> Iterator[tuple[Any, ...]]:
        """(what is said, desk, rows): how far it is, and at last the word's edits."""
        session, begun = str(request.session_hash), time.monotonic()
        with (
            self.studio.job(session, asked) as stop,
            self.studio.working("a search for a word’s features"),
        ):
            try:
                for at in search(self.studio, word or "", dictionary, stop):
                    if isinstance(at, Doing):
                        seconds = time.monotonic() - begun
                        yield doing_view(word, at, seconds), gr.skip(), gr.skip()
                        continue
                    desk = self._with(desk, rows_of(at))
                    yield found_view(at), desk, self.rows(desk)
                if stop.is_set():
                    yield notice("Stopped: the edits are as they were."), gr.skip(), gr.skip()
            except Exception as error:
                yield notice(sentence(error), "error"), gr.skip(), gr.skip()

    def _with(self, desk: Desk, added: tuple[Row, ...]) -> Desk:
        """The desk with the edits; the demonstration that nobody touched makes room."""
        if not added:
            return desk
        rows = (*(() if self.untouched(desk) else desk.rows), *added)
        Setup("x", rows=rows)
        return desk.change(rows)
