"""Ratios of two things timed in turn.

In interleaved pairs whose order alternates, so that a machine that slows down, or a cache that is
warm, favours neither; the median of the pairs is given, beside what the floating-point operations
alone would allow.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Figure:
    """A ratio: the median of `runs`, and the bound that operations alone set."""

    ratio: float
    bound: float
    runs: tuple[float, ...]


def figure(runs: tuple[float, ...], bound: float) -> Figure:
    """Of runs that were timed."""
    return Figure(statistics.median(runs), bound, runs)


def interleaved(one: Callable[[], Any], other: Callable[[], Any], pairs: int) -> tuple[float, ...]:
    """Time of `one` over time of `other`, pair by pair, after one unmeasured run of each.

    Which goes first alternates.
    """
    one(), other()
    ratios = []
    for number in range(pairs):
        first, second = (one, other) if number % 2 == 0 else (other, one)
        times = {first: seconds(first), second: seconds(second)}
        ratios.append(times[one] / times[other])
    return tuple(ratios)


def seconds(run: Callable[[], Any]) -> float:
    """Until a GPU has done it, too, and not until it was told."""
    import torch

    wait = torch.cuda.synchronize if torch.cuda.is_available() else lambda: None
    wait()
    start = time.perf_counter()
    run()
    wait()
    return time.perf_counter() - start
