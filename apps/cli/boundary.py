"""Where an error of any origin becomes one line for a person.

What the toolkit raises says what to do already. What comes from below (the disk, the network, the
hub, a chat template) is put into a sentence here, and both end in exit code 2. Anything else is a
fault of ours: exit code 1, with the traceback in a file. `steer --debug` shows every traceback.
"""

from __future__ import annotations

import errno
import traceback
from pathlib import Path
from tempfile import gettempdir

from typer.exceptions import TyperException

WRONG_INPUT, OUR_FAULT = 2, 1
_NETWORK = (
    "httpx",
    "httpx2",
    "httpcore",
    "requests",
    "urllib3",
    "urllib",
    "http",
    "socket",
    "aiohttp",
)
"""Libraries whose errors are the network's."""


def one_line(error: Exception) -> tuple[str, int]:
    """What is printed of an error, and the exit code."""
    if (sentence := said(error)) is not None:
        return " ".join(sentence.split("\n")), WRONG_INPUT
    return (
        f"{type(error).__name__}: {_first(error)}. This is a fault of steer, not of what you "
        f"typed; the traceback is {_kept(error)}",
        OUR_FAULT,
    )


def said(error: Exception) -> str | None:
    """The sentence of an error that a person can do something about, else None."""
    if _is_ours(error):
        return str(error)
    if isinstance(error, TyperException):
        return getattr(error, "format_message", error.__str__)()
    for family in type(error).__mro__:
        if (sentence := _of_library(family.__module__.split(".")[0], error)) is not None:
            return sentence
    if isinstance(error, OSError):
        return _of_system(error)
    if isinstance(error, OverflowError):
        return f"a number is too large: {_first(error)}"
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return f"out of memory: {_first(error)}; give shorter prompts, fewer rows or a lower dtype"
    return None


def _is_ours(error: Exception) -> bool:
    from dictionaries.errors import SteerError

    return isinstance(error, SteerError)


def _of_library(library: str, error: Exception) -> str | None:
    if library == "huggingface_hub":
        return f"the hub: {_first(error)}"
    if library == "jinja2":
        return f"the model's chat template refuses: {_first(error)}"
    if library == "safetensors":
        return f"a file of weights is damaged: {_first(error)}"
    if library in _NETWORK:
        return f"the network: {_first(error)}; check the address, and that a server answers there"
    return None


def _of_system(error: OSError) -> str:
    if isinstance(error, ConnectionError | TimeoutError):
        return f"the network: {_first(error)}; check the address, and that a server answers there"
    if error.errno == errno.ENOSPC:
        where = error.filename or "where this is written to (the output, or the cache)"
        return f"no space is left on the disk: {where}; make room and run it again"
    if error.filename is None:
        return error.strerror or _first(error)
    return f"{error.filename}: {(error.strerror or 'it failed').lower()}"


def _first(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")


def _kept(error: Exception) -> str:
    """Where the traceback is, in words."""
    place = Path(gettempdir()) / "steer-error.log"
    try:
        place.write_text("".join(traceback.format_exception(error)), "utf-8")
    except OSError:
        return "shown by `steer --debug`"
    return f"in {place}"
