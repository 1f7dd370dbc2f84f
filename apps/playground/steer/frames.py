"""A run as the frames that are drawn of it, from its place in the line to the coloured texts."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from threading import Event
from typing import NamedTuple

from apps.playground.html.markup import notice
from apps.playground.state.setup import Setup
from apps.playground.steer import texts_view as view
from apps.playground.steer.tokens import texts_of
from apps.playground.studio.apart import apart
from apps.playground.studio.studio import Studio
from apps.playground.studio.turns import TICK
from steer.lm.prompts import Prompt
from steer.runs.generate import Run
from steer.runs.stream import Piece

Labels = Callable[[Setup], Sequence[str]]

PATIENCE = 0.5
"""Seconds before one is told to wait: whatever is drawn sooner delays the first token."""


class Frame(NamedTuple):
    """What is drawn.

    texts: None leaves them. link: of the state that they are of, once they are finished.
    stale: what is left is of an earlier run.
    """

    notices: str = ""
    texts: str | None = None
    link: str = ""
    stale: bool = False


async def frames(
    studio: Studio, setup: Setup, labels: Labels, stop: Event, session: str
) -> AsyncGenerator[Frame]:
    """One after every token and before them one of the edited text alone; coloured texts at the
    end. Before the first token, only if it is long.

    labels: of the active edits. stop: ends it. Raises what the run raised.
    """
    begun, prompt, said, ran = time.monotonic(), setup.prompt, "", False
    async with aclosing(_course(studio, setup, stop, session)) as course:
        async for at in course:
            match at:
                case Prompt():
                    prompt = at.text
                case Piece():
                    ran, total = True, setup.max_new_tokens
                    live = view.streaming_view(prompt, at.baseline, at.edited, at.step, total)
                    yield Frame("", live)
                case Run():
                    ran, begun = True, time.monotonic()
                    work = asyncio.to_thread(
                        apart(_finished), studio, setup, at, labels, stop.is_set()
                    )
                    finished = asyncio.ensure_future(work)
                    while not (await asyncio.wait({finished}, timeout=1))[0]:
                        said = f"colouring both texts · {time.monotonic() - begun:.0f} s"
                        both = at.baseline.text, at.text
                        yield Frame("", view.waiting_view(prompt, said, both))
                    yield finished.result()
                case before if not ran and (waited := time.monotonic() - begun) > PATIENCE:
                    if said != (said := view.waiting(before, waited, studio.beside)):
                        yield Frame("", view.waiting_view(prompt, said))
    if not ran:
        idle = view.welcome_view() if said else None
        yield Frame(notice("Cancelled before its turn came."), idle)


async def _course(
    studio: Studio, setup: Setup, stop: Event, session: str
) -> AsyncGenerator[int | Prompt | Piece | Run]:
    """How many are before, now and then; the prompt, every token, the run, whose turn lasts until
    it is coloured."""
    with studio.turns.join(stop):
        if studio.turns.before(stop):
            await asyncio.to_thread(apart(studio.check), setup)
        async with aclosing(studio.turns.wait(stop)) as places:
            async for before in places:
                yield before
        if stop.is_set():
            return
        with studio.stream(setup, session) as stream:
            yield studio.read(setup)  # while the model computes
            async with aclosing(stream.pieces(TICK)) as pieces:
                async for piece in pieces:
                    yield piece or 0
            yield stream.result()


def _finished(studio: Studio, setup: Setup, run: Run, labels: Labels, cancelled: bool) -> Frame:
    texts, entries = texts_of(studio, setup, run, cancelled), tuple(run.receipt)
    return Frame(
        view.warnings_view(texts, entries),
        view.texts_view(texts, entries, labels(setup)),
        setup.to_fragment(),
    )
