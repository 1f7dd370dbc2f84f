"""Work apart: the same result, in a thread that is gone afterwards."""

from __future__ import annotations

import threading
from contextvars import ContextVar

import pytest

from apps.playground.handlers import Handlers
from apps.playground.studio.apart import apart

SAID: ContextVar[str] = ContextVar("SAID")


def test_the_thread_is_another_and_ends_with_the_work() -> None:
    worked = apart(threading.current_thread)()
    assert worked is not threading.current_thread()
    assert not worked.is_alive()


def test_values_errors_and_context_pass_through() -> None:
    def divide(over: int, *, by: int) -> tuple[str, float]:
        return SAID.get(), over / by

    SAID.set("of the caller")
    assert apart(divide)(1, by=2) == ("of the caller", 0.5)
    with pytest.raises(ZeroDivisionError):
        apart(divide)(1, by=0)


def test_a_function_keeps_its_face() -> None:
    """Gradio reads it for events, progress and documentation."""
    assert apart(Handlers.measure).__annotations__ == Handlers.measure.__annotations__
