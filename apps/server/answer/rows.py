"""Rows of one request on their way: awaited or streamed, and let go as soon as nobody listens."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress

from fastapi import Request

from steer.serving.ask import Answer, Ask, GoneError, Piece
from steer.serving.engine import Engine
from steer.serving.ticket import Ticket

Event = tuple[int, Piece | Answer]


class Rows:
    """The rows of one request. In an event loop."""

    def __init__(self, engine: Engine, asks: Sequence[Ask]) -> None:
        self._loop = asyncio.get_running_loop()
        self._events: asyncio.Queue[tuple[int, Piece | Answer | BaseException]] = asyncio.Queue()
        listeners = [self._listener(index) for index in range(len(asks))]
        self._must_act = [index for index, ask in enumerate(asks) if ask.refuse_silent]
        self.tickets = engine.submit(asks, listeners)
        for index, ticket in enumerate(self.tickets):
            ticket.done.add_done_callback(lambda _, i=index, t=ticket: self._done(i, t))  # type: ignore[misc]

    def cancel(self) -> None:
        """Free the rows; harmless for those that are done."""
        for ticket in self.tickets:
            ticket.cancel()

    async def events(self) -> AsyncGenerator[Event]:
        """Pieces and answers as they come, until all rows are done. Raises what was wrong.

        Where edits must act, nothing comes before they have in every row.
        """
        try:
            left, quiet = len(self.tickets), set(self._must_act)
            held: list[Event] = []
            while left:
                index, what = await self._events.get()
                if isinstance(what, BaseException):
                    raise what
                left -= isinstance(what, Answer)
                quiet.discard(index)
                held.append((index, what))
                while held and not quiet:
                    yield held.pop(0)
        finally:
            self.cancel()

    async def answers(self) -> list[Answer]:
        """Of all rows, in their order. Raises what was wrong with the first that came to grief."""
        done: dict[int, Answer] = {}
        async for index, what in self.events():
            if isinstance(what, Answer):
                done[index] = what
        return [done[index] for index in range(len(self.tickets))]

    def _listener(self, index: int) -> Callable[[Piece], None]:
        return lambda piece: self._put(index, piece)

    def _done(self, index: int, ticket: Ticket) -> None:
        error = ticket.done.exception()
        self._put(index, ticket.done.result() if error is None else error)

    def _put(self, index: int, what: Piece | Answer | BaseException) -> None:
        with suppress(RuntimeError):  # the loop is closed, so nobody listens any more
            self._loop.call_soon_threadsafe(self._events.put_nowait, (index, what))


@asynccontextmanager
async def while_connected(request: Request, cancel: Callable[[], object]) -> AsyncIterator[None]:
    """While entered, a client that is gone has what it asked for cancelled."""

    async def watch() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass
        cancel()

    watching = asyncio.ensure_future(watch())
    try:
        yield
    finally:
        watching.cancel()
        with suppress(asyncio.CancelledError, GoneError):
            await watching
