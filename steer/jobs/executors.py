"""Executors by their names."""

from __future__ import annotations

from steer.errors import SteerError
from steer.jobs.ray import Ray
from steer.jobs.run import Executor, here

__all__ = ["Executor", "executor_of"]


def executor_of(asked: str | Executor | None) -> Executor:
    """This process for None, Ray for `ray`, and an executor for itself.

    Raises `SteerError` for another name, and `MissingExtraError` without Ray.
    """
    if asked is None:
        return here
    if not isinstance(asked, str):
        return asked
    if asked == "ray":
        return Ray()
    raise SteerError(f"executor {asked!r} is unknown; allowed: ray, or leave it out")
