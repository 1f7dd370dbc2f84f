"""Baseline and edited text as they come, and a cancel that frees the model within a token."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Self

from torch import Tensor

from steer.errors import SteerError
from steer.runs.generate import Run
from steer.runs.sampling import OnStep
from steer.threads import begin


@dataclass(frozen=True)
class Piece:
    """Both continuations so far, after `step` tokens.

    The edited one begins: the first piece has its first token, and of the baseline none.
    """

    step: int
    baseline: str
    edited: str


class Stream:
    """Iterate to get a `Piece` a token, and one before them; leave the loop or the `with` block to
    cancel.

    In an event loop, iterate over `pieces()` instead.
    `result()` waits for the end and returns the run, or raises what the run raised; a `SteerError`,
    such as an overflow, is raised by the iteration too. A cancelled run returns what it had so far.

    The model runs in a thread of its own. On a CPU a token takes up to twice its time there if the
    thread that asks has computed before, since OpenMP then has more threads than there are cores;
    `generate` with `on_step` does not pay for that.
    """

    def __init__(
        self, start: Callable[[OnStep, OnStep], Run], text: Callable[[Tensor], str]
    ) -> None:
        self._pieces: queue.SimpleQueue[Piece | None] = queue.SimpleQueue()
        self._listeners: list[Callable[[], None]] = []
        self._text = text
        self._cancelled = threading.Event()
        self._outcome: Run | BaseException | None = None
        self._prompt_length: int | None = None
        self._thread = begin(partial(self._work, start), self.cancel)

    def _work(self, start: Callable[[OnStep, OnStep], Run]) -> None:
        try:
            self._outcome = start(self._on_step, self._on_first)
        except BaseException as error:  # handed to whoever asks for the result
            self._outcome = error
        finally:
            self._put(None)

    def _put(self, piece: Piece | None) -> None:
        self._pieces.put(piece)
        for tell in self._listeners:
            tell()

    def _on_first(self, ids: Tensor) -> bool:
        self._put(Piece(1, "", self._text(ids[0, -1:])))
        return self._cancelled.is_set()

    def _on_step(self, ids: Tensor) -> bool:
        if self._prompt_length is None:
            self._prompt_length = ids.shape[1] - 1
        step = ids.shape[1] - self._prompt_length
        baseline, edited = (self._text(row[self._prompt_length :]) for row in ids)
        self._put(Piece(step, baseline, edited))
        return self._cancelled.is_set()

    def __iter__(self) -> Iterator[Piece]:
        try:
            while (piece := self._pieces.get()) is not None:
                yield piece
            self._refuse()
        finally:
            self.cancel()

    async def pieces(self, tick: float | None = None) -> AsyncGenerator[Piece | None]:
        """The same in an event loop, where no thread waits for the tokens.

        tick: also yield None whenever so many seconds have passed without a token.
        """
        loop, came = asyncio.get_running_loop(), asyncio.Event()

        def tell() -> None:
            with suppress(RuntimeError):  # the loop is closed, so nobody listens any more
                loop.call_soon_threadsafe(came.set)

        self._listeners.append(tell)
        tell()
        try:
            while True:
                with suppress(TimeoutError):
                    await asyncio.wait_for(came.wait(), tick)
                if not came.is_set():
                    yield None
                came.clear()
                while not self._pieces.empty():
                    piece = self._pieces.get_nowait()
                    if piece is None:
                        self._refuse()
                        return
                    yield piece
        finally:
            self.cancel()

    def _refuse(self) -> None:
        """Raise what the caller can put right: the text is not whole."""
        self._thread.join()
        if isinstance(self._outcome, SteerError):
            raise self._outcome

    def cancel(self) -> None:
        """Stop after the token that is being computed."""
        self._cancelled.set()

    def result(self) -> Run:
        """Wait for the end. Raises what the run raised."""
        self._thread.join()
        if isinstance(self._outcome, BaseException):
            raise self._outcome
        assert self._outcome is not None
        return self._outcome

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.cancel()
        self._thread.join()
