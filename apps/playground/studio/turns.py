"""Who generates next: first come, first served, each knowing its place; all in one event loop.

Not Gradio's queue, whose progress in the page takes the processor time that the model needs for
the first token.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager, suppress
from threading import Event

from steer.errors import SteerError

MOST = 64
"""Runs in the line."""
TICK = 0.25
"""Seconds after which one who waits looks up."""


class Turns:
    """The line. A run is known by the event that ends it; one that was ended is before nobody."""

    def __init__(self) -> None:
        self._line: list[Event] = []
        self._moved = asyncio.Event()

    @contextmanager
    def join(self, stop: Event) -> Iterator[None]:
        """Stand in the line while this is entered. Raises `SteerError` if it is too long."""
        if len(self._line) >= MOST:
            raise SteerError(f"{MOST} runs are waiting already: try again in a minute")
        self._line.append(stop)
        try:
            yield
        finally:
            self._line.remove(stop)
            moved, self._moved = self._moved, asyncio.Event()
            moved.set()

    def before(self, stop: Event) -> int:
        """How many are to run first."""
        return sum(not earlier.is_set() for earlier in self._line[: self._line.index(stop)])

    async def wait(self, stop: Event) -> AsyncGenerator[int]:
        """How many are before, at every change and every `TICK`, until it is one's turn.

        Also ends when `stop` is set.
        """
        while (before := self.before(stop)) and not stop.is_set():
            yield before
            with suppress(TimeoutError):
                await asyncio.wait_for(self._moved.wait(), TICK)
