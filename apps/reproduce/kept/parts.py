"""Expensive parts of experiments, made once and kept under the digest of what made them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from dictionaries.dictionary import Dictionary
from steer.disk.cache import atomic_folder

_NEEDED_BYTES = 64 * 2**20


def digest(made_of: Mapping[str, Any]) -> str:
    """Twelve hex digits of JSON values; the order of keys does not matter."""
    text = json.dumps(made_of, sort_keys=True, ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def weights_of(dictionary: Dictionary) -> str:
    """Twelve hex digits of a dictionary's site and matrices: names may be alike."""
    weights = hashlib.sha256(str(dictionary.config.hookpoint).encode())
    for matrix in (dictionary.W_enc, dictionary.W_dec):
        weights.update(matrix.float().contiguous().cpu().numpy().tobytes())
    return weights.hexdigest()[:12]


def location(cache: Path, kind: str, made_of: Mapping[str, Any]) -> Path:
    """Where the part is, or will be."""
    return cache / f"{kind}-{digest(made_of)}"


def part(cache: Path, kind: str, made_of: Mapping[str, Any], make: Callable[[Path], None]) -> Path:
    """The part's folder, filled by `make(folder)` if it is not there yet.

    The folder appears all at once, so an interrupted run leaves none; two processes that want the
    same part make it once. `made_of` is written beside it, in `made_of.json`.
    """
    from filelock import FileLock

    final = location(cache, kind, made_of)
    if final.exists():
        return final
    cache.mkdir(parents=True, exist_ok=True)
    with FileLock(final.with_suffix(".lock")):
        if not final.exists():
            with atomic_folder(final, _NEEDED_BYTES) as scratch:
                make(scratch)
                (scratch / "made_of.json").write_text(json.dumps(made_of, indent=1) + "\n")
    return final
