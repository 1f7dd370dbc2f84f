"""What values hold, as hex digits: the same in every process, and others for other values."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import fields, replace
from functools import cache
from importlib.metadata import version
from pathlib import Path
from types import FunctionType

import torch
from torch import Tensor

import dictionaries
from dictionaries.dictionary import Dictionary

_LEAVES = (type(None), bool, int, float, str, bytes, slice, Path, torch.dtype, torch.device)
_PACKAGES = ("torch", "transformers", "nnsight")
_BESIDE = {"name", "card", "place", "statistics"}
"""What a dictionary has beside the numbers that it reads and writes with."""
_FIGURES = ("density", "maximum", "mean", "quantiles")
"""What doses such as `5x max` and matched controls are made of."""


def content_digest(*values: object) -> str:
    """Thirty-two hex digits of tensors by dtype, shape and content, of plain data, of functions by
    name, and of any other object by its type and all that it has.

    Raises `TypeError` for an object that can't be looked into.
    """
    return _digest(values).hex()[:32]


def dictionary_content(dictionary: Dictionary) -> list[str | int | None]:
    """Which dictionary it is: for people its name, site and width, and a digest of all numbers that
    results are made of, which another of that name would not have. Labels and cards are not."""
    config = dictionary.config
    made_of = {
        own.name: getattr(dictionary, own.name)
        for own in fields(dictionary)
        if own.name not in _BESIDE
    }
    made_of["config"] = replace(config, metadata=())
    known = dictionary.statistics
    figures = known and [getattr(known, name) for name in _FIGURES]
    numbers = content_digest(made_of, figures)
    return [dictionary.name, config.hookpoint, dictionary.width, numbers]


@cache
def source_digest() -> str:
    """Of the source of this toolkit, and the versions of what it stands on."""
    packages = (Path(__file__).parents[1], Path(dictionaries.__path__[0]))
    files = [path for folder in packages for path in sorted(folder.rglob("*.py"))]
    source = hashlib.sha256(b"\0".join(path.read_bytes() for path in files)).hexdigest()
    return content_digest(source, {name: version(name) for name in _PACKAGES})


def _digest(value: object) -> bytes:
    made = hashlib.sha256(f"{type(value).__module__}.{type(value).__qualname__}".encode())
    for part in _parts(value):
        made.update(len(part).to_bytes(8, "big") + part)
    return made.digest()


def _parts(value: object) -> Iterator[bytes]:
    """What tells a value from others of its type."""
    match value:
        case Tensor():
            whole = value.detach().cpu().contiguous()
            yield f"{tuple(whole.shape)} {whole.dtype}".encode()
            yield whole.view(-1).view(torch.uint8).numpy().tobytes()
        case FunctionType():
            yield f"{value.__module__}.{value.__qualname__}".encode()
        case _ if isinstance(value, _LEAVES):
            yield repr(value).encode()
        case Mapping():
            yield from sorted(_digest(key) + _digest(value[key]) for key in value)
        case AbstractSet():
            yield from sorted(map(_digest, value))
        case Sequence():
            yield from map(_digest, value)
        case _ if hasattr(value, "__dict__"):
            yield _digest(vars(value))
        case _:
            raise TypeError(f"no digest of a {type(value).__qualname__}")
