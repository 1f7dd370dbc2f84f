"""Threads that end with the program, and not in the middle of a product."""

from __future__ import annotations

import atexit
import threading
from collections.abc import Callable

_SECONDS = 30.0
"""What a program waits at its end at most."""


def begin(
    work: Callable[[], object], stop: Callable[[], object], name: str | None = None
) -> threading.Thread:
    """Start `work` in a thread. If the program ends before it, `stop` is called and waited for.

    Python cuts daemon threads off where they are, and one that is in torch then takes the process
    down with it: exit code 134, whatever the program came to.
    """

    def leave() -> None:
        stop()
        thread.join(_SECONDS)

    def run() -> None:
        try:
            work()
        finally:
            atexit.unregister(leave)

    thread = threading.Thread(target=run, name=name, daemon=True)
    atexit.register(leave)
    thread.start()
    return thread
