"""Results kept as JSON in the cache as they come, so that an interrupted experiment continues."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, Self, TypeVar

from apps.reproduce.kept.parts import part
from apps.reproduce.settings import Settings
from dictionaries.dictionary import Dictionary


class Kept(Protocol):
    """What can be written down and read again."""

    def to_dict(self) -> dict[str, Any]: ...

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self: ...


Found = TypeVar("Found", bound=Kept)


def kept(
    settings: Settings,
    kind: str,
    made_of: Mapping[str, Any],
    read: type[Found],
    make: Callable[[], Sequence[Found]],
) -> list[Found]:
    """What `make` gives, or what it gave when it was last asked with an equal `made_of`."""

    def write(folder: Path) -> None:
        data = [each.to_dict() for each in make()]
        (folder / "result.json").write_text(json.dumps(data))

    folder = part(settings.cache, kind, made_of, write)
    return [read.from_dict(each) for each in json.loads((folder / "result.json").read_text())]


def weights_of(dictionary: Dictionary) -> str:
    """Twelve hex digits of a dictionary's site and matrices: names may be alike."""
    digest = hashlib.sha256(str(dictionary.config.hookpoint).encode())
    for matrix in (dictionary.W_enc, dictionary.W_dec):
        digest.update(matrix.float().contiguous().cpu().numpy().tobytes())
    return digest.hexdigest()[:12]
