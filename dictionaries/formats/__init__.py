"""Published file formats, one module each; a format is found by what is in the folder or file."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Protocol

from dictionaries.dictionary import Dictionary
from dictionaries.errors import DictionaryError, FormatError
from dictionaries.files.archives import state_names
from dictionaries.files.numbered import only_block
from dictionaries.formats import (
    circuit_tracer,
    cross_layer,
    dictionary_learning,
    gemma_scope,
    goodfire,
    hoagyc,
    llama_scope,
    openai,
    qwen_scope,
    saelens,
    sparsify,
)
from dictionaries.formats.saelens import temporal_release


class Format(Protocol):
    """What a module of this package offers."""

    LOOKS_LIKE: str
    """What a folder of this format holds, for the message that nothing was found."""

    def matches(self, folder: Path) -> bool:
        """Whether the folder is of this format, damaged or not."""

    def read(self, folder: Path, *, features: Sequence[int] | None = None) -> Dictionary:
        """Load it in canonical form, float32. Raises `FormatError`."""


FORMATS: dict[str, Format] = {
    "saelens": saelens,
    "sparsify": sparsify,
    "gemma_scope": gemma_scope,
    "llama_scope": llama_scope,
    "dictionary_learning": dictionary_learning,
    "hoagyc": hoagyc,
    "openai": openai,
    "goodfire": goodfire,
    "qwen_scope": qwen_scope,
    "circuit_tracer": circuit_tracer,
    "cross_layer": cross_layer,
    "temporal": temporal_release,
}
"""In the order in which they are looked for: cheap and certain ones first."""


def load_folder(folder: str | Path, *, features: Sequence[int] | None = None) -> Dictionary:
    """Load a dictionary of any known format, float32; with `features`, only their rows.

    `folder` may be the file itself for formats of one file, or one file a block.
    Raises `FormatError` for a folder of no known format, of several blocks, or of damaged files.
    """
    folder = Path(folder)
    cross_layer.refuse_crosscoder(folder)  # rather than advise to choose one of its files
    folder = only_block(folder)
    for known in FORMATS.values():
        if known.matches(folder):
            return _read(known, folder, features)
    names = sorted(_names(folder))[:10]
    raise FormatError(
        f"{folder} is no dictionary of a known format: it holds {', '.join(names) or 'nothing'}; "
        f"looked for {'; '.join(known.LOOKS_LIKE for known in FORMATS.values())}"
    )


def _names(path: Path) -> Iterable[str]:
    """What is in a folder, or in a torch file."""
    return (entry.name for entry in path.iterdir()) if path.is_dir() else state_names(path)


def _read(known: Format, folder: Path, features: Sequence[int] | None) -> Dictionary:
    try:
        return known.read(folder, features=features)
    except DictionaryError as error:
        if type(error) is not DictionaryError or features is not None:
            raise
        raise FormatError(f"{folder}: {error}") from error  # an architecture refused its tensors


__all__ = ["FORMATS", "Format", "load_folder"]
