"""Text that every machine has: the docstrings of Python's own library, for `steer check`."""

from __future__ import annotations

import inspect
from importlib import import_module

_MODULES = (
    "heapq",
    "decimal",
    "datetime",
    "random",
    "statistics",
    "threading",
    "subprocess",
    "argparse",
    "difflib",
    "textwrap",
    "logging",
    "pathlib",
    "functools",
    "collections",
)


def docstrings() -> list[str]:
    """One text a module: its own docstring, then those of its public members."""
    return [text for name in _MODULES if (text := _of(name))]


def _of(name: str) -> str:
    module = import_module(name)
    members = [member for key, member in sorted(vars(module).items()) if key[0] != "_"]
    documented = [m for m in members if getattr(m, "__module__", None) == name]
    texts = [getattr(module, "__about__", None), module.__doc__]
    texts += [inspect.getdoc(member) for member in documented]
    return "\n\n".join(text.strip() for text in texts if text)
