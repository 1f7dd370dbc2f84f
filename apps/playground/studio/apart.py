"""Work in a thread of its own that ends with it.

Each thread that computes has OpenMP make a team of threads for it, which stays as long as it does.
While the teams have more threads than the machine has cores, OpenMP lets none of them wait awake
(libgomp's throttled spin count), and a token takes nearly twice its time. A server's main thread
and its pool's threads stay, so they must not compute.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


def apart(call: Callable[P, T]) -> Callable[P, T]:
    """The same function, which computes apart and returns, or raises, what it did."""

    @functools.wraps(call)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> T:
        context = copy_context()
        with ThreadPoolExecutor(1) as alone:
            return alone.submit(context.run, functools.partial(call, *args, **kwargs)).result()

    return wrapped


def each_apart(values: Iterator[T]) -> Iterator[T]:
    """The same values, each of which is computed apart."""
    end = object()
    step = apart(next)
    while (value := step(values, end)) is not end:
        yield value  # type: ignore[misc]
