"""Guessing a key is slow: after a few wrong ones an address waits, twice as long each time."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable

FREE = 5
"""Wrong keys of an address that cost nothing: typing errors."""
LONGEST = 300.0
"""Seconds that it waits at most, after which it may try once."""
_ADDRESSES = 4096


class Guesses:
    """Wrong keys of each address, the last few thousand addresses; clock: seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self._wrong: OrderedDict[str, tuple[int, float]] = OrderedDict()

    def wait(self, address: str) -> float:
        """Seconds until the address may try again; 0 if it may now."""
        count, last = self._wrong.get(address, (0, 0.0))
        if count < FREE:
            return 0.0
        pause = min(2.0 ** min(count - FREE, 20), LONGEST)
        return max(0.0, last + pause - self.clock())

    def wrong(self, address: str) -> None:
        count, _ = self._wrong.pop(address, (0, 0.0))
        self._wrong[address] = count + 1, self.clock()
        while len(self._wrong) > _ADDRESSES:
            self._wrong.popitem(last=False)

    def right(self, address: str) -> None:
        self._wrong.pop(address, None)
