"""What was written or measured once, kept in the cache folder and found by content."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from dictionaries.files.whole import in_one_move
from steer.disk.cache import cache_folder

VERSION = 3
"""Part of every key: to be raised when what is computed from the same settings changes."""


def digest(settings: Any) -> str:
    """Twenty hex digits of settings that JSON can hold."""
    text = json.dumps([VERSION, settings], sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:20]


def remembered(kind: str, settings: Any, make: Callable[[], Any]) -> Any:
    """`make()` as JSON gives it back, from the cache folder if it was made before.

    A file that can't be read is made anew.
    """
    path = _path(kind, settings, "json")
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        text = json.dumps(make(), ensure_ascii=False)
    _write(path, lambda scratch: scratch.write_text(text, encoding="utf-8"))
    return json.loads(text)


def remembered_tensors(
    kind: str, settings: Any, make: Callable[[], Mapping[str, Tensor]]
) -> dict[str, Tensor]:
    """The same for named tensors."""
    path = _path(kind, settings, "safetensors")
    try:
        return load_file(path)
    except (OSError, SafetensorError):
        tensors = {name: tensor.contiguous() for name, tensor in make().items()}
    _write(path, lambda scratch: save_file(tensors, scratch))
    return {name: torch.clone(tensor) for name, tensor in tensors.items()}


def _path(kind: str, settings: Any, suffix: str) -> Path:
    return cache_folder() / "concepts" / f"{kind}-{digest(settings)}.{suffix}"


def _write(path: Path, fill: Callable[[Path], Any]) -> None:
    """All at once, so that a reader never sees half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with in_one_move(path) as scratch:
        fill(scratch)
