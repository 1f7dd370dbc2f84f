"""The running batch: requests join it when their prompt is read and leave it between two steps.

A step reads at most `budget` tokens of prompts, in the order in which they came, and then one more
token of every row whose prompt is read. All of it happens in one thread: two that compute would
each take the other's cores.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, TypeVar

import torch

from dictionaries.dictionary import Dictionary
from steer.errors import PromptError, SteerError
from steer.lm.language_model import LanguageModel
from steer.serving.ask import Ask, BusyError, ClosingError, GoneError, LateError
from steer.serving.batch import Batch, Served, read_part
from steer.serving.row import Row
from steer.serving.rows_cache import check_cache
from steer.serving.ticket import Listener, Ticket, promised, settle
from steer.threads import begin

T = TypeVar("T")
_WHOLE = 8
"""A text of more budgets than that is scored in parts."""


@dataclass(frozen=True)
class Limits:
    """rows: most that are decoded together; queue: most that wait beside them.

    budget: prompt tokens read in a step; seconds: that a request may take, from when it came.
    """

    rows: int = 16
    queue: int = 64
    budget: int = 64
    seconds: float = 300.0

    def __post_init__(self) -> None:
        for name, least in (("rows", 1), ("queue", 0), ("budget", 1), ("seconds", 0)):
            if not getattr(self, name) >= least:  # NaN is no limit either
                raise SteerError(
                    f"{name}={getattr(self, name)} is not allowed: it must be {least} or more"
                )


@dataclass(frozen=True)
class Step:
    """What one step did: rows decoded, prompt tokens read, tokens drawn, and how long it took."""

    rows: int
    read: int
    drawn: int
    seconds: float


class Engine:
    """Serves requests until it is closed.

    dictionaries: to look names up in before the catalogue.
    report: told, from the engine's thread, what every step did.
    Raises `ModelError` for a model whose rows can't join and leave a batch.
    """

    def __init__(
        self,
        model: LanguageModel,
        limits: Limits = Limits(),  # frozen
        dictionaries: Sequence[Dictionary] = (),
        report: Callable[[Step], None] | None = None,
    ) -> None:
        check_cache(model.module)
        self.model, self.limits = model, limits
        self.rows = limits.rows if model.can_pad and model.anatomy.batches else 1
        self._dictionaries, self._report = dictionaries, report
        self._waiting: deque[Ticket] = deque()
        self._calls: deque[tuple[Future[Any], Callable[[], Any]]] = deque()
        self._reading: deque[Served] = deque()
        self._batch = Batch(model)
        self._wake = threading.Condition()
        self._closed = False
        self._thread = begin(self._work, self.close, name="steer-engine")

    # -- for other threads ---------------------------------------------------------------------

    def submit(self, asks: Sequence[Ask], listen: Sequence[Listener] = ()) -> list[Ticket]:
        """Take all of these, or none.

        Raises `BusyError` if the queue would be too long, `PromptError` if a text would be.
        """
        for ask in asks:
            _check(self.model, ask)
        until = time.monotonic() + self.limits.seconds
        heard: Sequence[Listener | None] = listen or [None] * len(asks)
        tickets = [Ticket(ask, own, until) for ask, own in zip(asks, heard, strict=True)]
        with self._wake:
            self._refuse_if_closed()
            most = self.limits.queue + self.rows
            if self.served + len(asks) > most:
                raise BusyError(
                    f"{self.served} rows are served or wait, {len(asks)} more are too many (at "
                    f"most {most}): ask again in a moment"
                )
            self._waiting.extend(tickets)
            self._wake.notify()
        return tickets

    def between(self, call: Callable[[], T]) -> Future[T]:
        """Do something with the model between two steps, in the engine's thread.

        Raises `BusyError` if as many wait as rows may.
        """
        future: Future[T] = promised()
        with self._wake:
            self._refuse_if_closed()
            if len(self._calls) > self.limits.queue:
                raise BusyError(f"{len(self._calls)} such requests wait: ask again in a moment")
            self._calls.append((future, call))
            self._wake.notify()
        return future

    @property
    def served(self) -> int:
        """Rows that wait, are read or are decoded."""
        return len(self._waiting) + len(self._reading) + len(self._batch.rows)

    @property
    def waiting(self) -> int:
        """Rows that are not begun."""
        return len(self._waiting)

    def close(self, seconds: float = 0.0) -> None:
        """Take nothing more, finish what is served within so many seconds, and end."""
        with self._wake:
            self._closed = True
            self._wake.notify()
        self._thread.join(seconds)
        while self._thread.is_alive():  # again, for one that was just between waiting and begun
            for ticket in self._tickets:
                ticket.cancel()
            self._thread.join(0.1)

    @property
    def _tickets(self) -> list[Ticket]:
        begun = (*self._reading, *self._batch.rows)
        return [*self._waiting, *(ticket for ticket, _ in begun)]

    def _refuse_if_closed(self) -> None:
        if self._closed:
            raise ClosingError("the server is closing: ask again when it is back")

    # -- the engine's own thread ---------------------------------------------------------------

    def _work(self) -> None:
        with torch.inference_mode():
            while self._sleep():
                with self.model.lock:
                    self._step_or_fail()

    def _sleep(self) -> bool:
        """Wait for something to do; False if there will be nothing more."""
        with self._wake:
            while not (self.served or self._calls):
                if self._closed:
                    return False
                self._wake.wait()
        return True

    def _step_or_fail(self) -> None:
        """A fault that is no row's own ends all that are served, and none that come later."""
        try:
            self._step()
        except Exception as error:
            gone = [ticket for ticket in self._tickets if not ticket.done.done()]
            with self._wake:
                self._waiting.clear()
            self._reading.clear()
            self._batch = Batch(self.model)
            for ticket in gone:
                ticket.done.set_exception(error)

    def _step(self) -> None:
        began = time.perf_counter()
        self._let_go()
        self._admit()
        read, begun = self._read_prompts()
        rows = len(self._batch.rows)
        self._hand_out(self._batch.decode())
        if self._calls:
            settle(*self._calls.popleft())
        if self._report:
            seconds = time.perf_counter() - began
            self._report(Step(rows, read, begun + rows, seconds))

    def _let_go(self) -> None:
        """Of rows that were cancelled or took too long."""
        now = time.monotonic()
        with self._wake:
            gone = [ticket for ticket in self._waiting if ticket.over(now)]
            self._waiting = deque(ticket for ticket in self._waiting if ticket not in gone)
        begun = (*self._reading, *self._batch.rows)
        gone += [ticket for ticket, _ in begun if ticket.over(now)]
        if gone:
            self._reading = deque(read for read in self._reading if read[0] not in gone)
            self._batch.stay([row for row in self._batch.rows if row[0] not in gone])
        for ticket in gone:
            ticket.done.set_exception(self._why(ticket))

    def _why(self, ticket: Ticket) -> SteerError:
        if ticket.cancelled.is_set():
            return GoneError("the request was cancelled")
        return LateError(f"not done within {self.limits.seconds:g} seconds: ask for fewer tokens")

    def _admit(self) -> None:
        """As many as there is room for, and as a step can read: lowering takes time, too.

        What is wrong with one is found here.
        """
        while self._waiting and len(self._reading) + len(self._batch.rows) < self.rows:
            if sum(row.left for _, row in self._reading) >= self.limits.budget:
                return
            with self._wake:
                ticket = self._waiting.popleft()
            try:
                row = Row(self.model, ticket.ask, self._dictionaries)
            except Exception as error:  # the request's, whatever it is: others go on
                ticket.done.set_exception(error)
            else:
                self._reading.append((ticket, row))

    def _read_prompts(self) -> tuple[int, int]:
        """Prompts in parts; rows that are read join. How many tokens, and how many rows."""
        budget, read, begun = self.limits.budget, 0, []
        while self._reading and (not read or read + self._next_part <= budget):
            ticket, row = self._reading[0]
            part = self._next_part
            read += part
            try:
                read_part(self.model, row, part)
            except Exception as error:
                ticket.done.set_exception(error)
                self._reading.popleft()
                continue
            if not row.left:
                begun.append(self._reading.popleft())
        self._batch.join([served for served in begun if served[1].finish is None])
        self._hand_out(begun)
        return read, len(begun)

    @property
    def _next_part(self) -> int:
        """How much of the next prompt is read at once.

        Of one that is scored the last token, behind which nothing is scored, is read alone, and all
        before it whole where that holds up no text: as in process, where other parts differ by
        rounding.
        """
        row, budget = self._reading[0][1], self.limits.budget
        if not row.wants_all or row.left == 1:
            return min(row.left, budget)
        whole = not self._batch.rows and row.left <= _WHOLE * budget
        return row.left - 1 if whole else min(row.left - 1, budget)

    def _hand_out(self, rows: Sequence[Served]) -> None:
        """What is new of each text; those that are finished leave, and have their answer."""
        for ticket, row in rows:
            piece = row.piece()
            if piece and ticket.listen:
                ticket.listen(piece)
        finished = [served for served in rows if served[1].finish is not None]
        self._batch.stay([served for served in self._batch.rows if _stays(*served)])
        for ticket, row in finished:
            settle(ticket.done, row.answer)


def _stays(ticket: Ticket, row: Row) -> bool:
    return row.finish is None and not ticket.done.done()


def _check(model: LanguageModel, ask: Ask) -> None:
    """What needs no pass of the model to be wrong."""
    length = len(ask.prompt.ids)
    if ask.max_tokens < 0:
        raise SteerError(f"max_tokens={ask.max_tokens} is not allowed: it must be 0 or more")
    if length + ask.max_tokens > model.context:
        raise PromptError(
            f"{length} prompt tokens and {ask.max_tokens} new ones are more than the "
            f"{model.context} that {model.name} can read"
        )
    if ask.context is not None and not 1 <= ask.context <= length:
        raise PromptError(f"context={ask.context} is not allowed: the prompt has {length} tokens")
