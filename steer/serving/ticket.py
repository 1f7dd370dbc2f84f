"""A request that was taken, and what is promised of it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

from steer.serving.ask import Answer, Ask, Piece

T = TypeVar("T")
Listener = Callable[[Piece], None]
"""Told, from the engine's thread, what was added to a text."""


class Ticket:
    """A request that was taken. `done` has its `Answer`, or what was wrong.

    until: by when it must be done, on the monotonic clock.
    """

    def __init__(self, ask: Ask, listen: Listener | None, until: float) -> None:
        self.ask, self.listen, self.until = ask, listen, until
        self.done: Future[Answer] = promised()
        self.cancelled = threading.Event()

    def cancel(self) -> None:
        """Leave the batch before the next step."""
        self.cancelled.set()

    def over(self, now: float) -> bool:
        """Whether it is to be let go."""
        return self.cancelled.is_set() or now > self.until

    def result(self) -> Answer:
        """Wait for the end. Raises what was wrong."""
        return self.done.result()


def promised() -> Future[Any]:
    """A future that whoever waits for it can't cancel."""
    future: Future[Any] = Future()
    future.set_running_or_notify_cancel()
    return future


def settle(future: Future[T], call: Callable[[], T]) -> None:
    """Give it what the call returns, or raises: what is wrong with one request stops no other."""
    try:
        future.set_result(call())
    except Exception as error:
        future.set_exception(error)
