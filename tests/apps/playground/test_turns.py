"""The line at the model: in order, each knowing its place, and leaving whenever it likes."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from threading import Event

import pytest

from apps.playground.studio.turns import MOST, Turns
from steer import SteerError


async def stand(turns: Turns, stop: Event, ran: list[Event], places: list[int]) -> None:
    with turns.join(stop):
        async for before in turns.wait(stop):
            places.append(before)
        if not stop.is_set():
            ran.append(stop)
            await asyncio.sleep(0)


def test_first_come_first_served() -> None:
    async def use() -> tuple[list[Event], list[Event], list[list[int]]]:
        turns, ran = Turns(), []
        stops = [Event() for _ in range(6)]
        places: list[list[int]] = [[] for _ in stops]
        await asyncio.gather(*(stand(turns, s, ran, p) for s, p in zip(stops, places, strict=True)))
        return stops, ran, places

    stops, ran, places = asyncio.run(use())
    assert ran == stops
    assert [seen[:1] for seen in places] == [[], [1], [2], [3], [4], [5]]
    assert all(seen == sorted(seen, reverse=True) for seen in places)


@pytest.mark.parametrize("ended", [0, 1, 2])
def test_one_that_is_ended_is_before_nobody(ended: int) -> None:
    """Even if it never looks up again, as when its page was closed."""

    turns, stops = Turns(), [Event() for _ in range(4)]
    with ExitStack() as line:
        for stop in stops:
            line.enter_context(turns.join(stop))
        stops[ended].set()
        assert [turns.before(stop) for stop in stops if not stop.is_set()] == [0, 1, 2]


def test_an_error_in_ones_turn_frees_the_next() -> None:
    async def fail(turns: Turns) -> None:
        stop = Event()
        with turns.join(stop):
            async for _ in turns.wait(stop):
                pass
            raise ValueError("mine")

    async def use() -> list[Event]:
        turns, ran, stop = Turns(), [], Event()
        await asyncio.gather(fail(turns), stand(turns, stop, ran, []), return_exceptions=True)
        return ran

    assert len(asyncio.run(use())) == 1


def test_the_line_has_an_end() -> None:
    turns = Turns()
    with ExitStack() as line:
        for _ in range(MOST):
            line.enter_context(turns.join(Event()))
        with pytest.raises(SteerError, match="waiting already"), turns.join(Event()):
            pass
    with turns.join(Event()):
        pass
