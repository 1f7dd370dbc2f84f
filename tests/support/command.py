"""`steer` called as from a shell, in this process; the fixture `run` is in conftest.py."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple


class Output(NamedTuple):
    code: int
    out: str
    err: str


Run = Callable[..., Output]
