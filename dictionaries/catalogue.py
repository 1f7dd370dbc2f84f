"""Dictionaries by name: those shipped with the package, any folder, and addresses of the hub.

`folder#5` is block 5 of a folder that holds a dictionary for each block.

A shipped dictionary is `shipped/<model>/<site>/` with its weights in SAELens's layout and a
`card.json` that says how it was made and the sha256 of its files.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch

from dictionaries import hub
from dictionaries.beside.by_hand import labels_at
from dictionaries.beside.labels import Labels
from dictionaries.beside.statistics import FeatureStatistics
from dictionaries.dictionary import Dictionary
from dictionaries.errors import DictionaryError, FormatError
from dictionaries.files.numbered import block_file
from dictionaries.files.place import sha256
from dictionaries.files.tensors import read_json
from dictionaries.formats import load_folder, saelens
from dictionaries.releases import where

CARD = "card.json"
SHIPPED = Path(str(files("dictionaries"))) / "shipped"


def names(root: Path = SHIPPED) -> list[str]:
    """Catalogue names, such as `smollm2-135m/resid_post.20`."""
    return sorted(path.parent.relative_to(root).as_posix() for path in root.glob(f"*/*/{CARD}"))


def find(name: str | Path, root: Path = SHIPPED) -> Path:
    """The folder (or file) of a catalogue name, of one given by its own, or of an `hf://` address.

    Raises `DictionaryError` with the nearest names and the whole list, `FormatError` for a block
    that the folder does not have.
    """
    if str(name).startswith(hub.SCHEME):
        return hub.fetch(str(name))
    known = names(root)
    if str(name) in known:
        return root / str(name)
    if Path(name).exists():
        return Path(name)
    folder, _, block = str(name).rpartition("#")
    if block.isdecimal() and Path(folder).is_dir():
        return block_file(Path(folder), int(block))
    raise DictionaryError(
        f"dictionary {str(name)!r} is neither a name of the catalogue nor a folder"
        f"{_hint(str(name), known)} Names: {', '.join(known) or 'none'}"
    )


def _hint(name: str, known: Sequence[str]) -> str:
    """The nearest names of the same model; else where the hub has it; else what is nearest."""
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.4)
    same_model = near and (
        near[0].split("/")[0] == name.split("/")[0]
        or difflib.SequenceMatcher(None, name, near[0]).ratio() > 0.8
    )
    if not same_model and (written := where(name)):
        return f"; {written}."
    return f". Did you mean {' or '.join(near)}?" if near else "."


def load(
    name: str | Path, *, features: Sequence[int] | None = None, root: Path = SHIPPED
) -> Dictionary:
    """Load by name, folder or address, float32; with `features`, only their rows are read.

    The sha256 of every file that the card lists is checked, unless only rows are read.
    Raises `DictionaryError` for an unknown name, `FormatError` for a damaged file.
    """
    folder = find(name, root)
    if features is None:
        _verify(folder)
    return replace(
        load_folder(folder, features=features),
        name=str(name),
        card=read_json(folder / CARD) if (folder / CARD).is_file() else None,
        statistics=FeatureStatistics.load(folder) if features is None else None,
        place=folder.absolute() if features is None else None,
    )


def save(dictionary: Dictionary, folder: str | Path, dtype: torch.dtype | None = None) -> None:
    """Write it into a folder as SAELens does; `dtype` is that of the matrices, float32 if None."""
    saelens.write(dictionary, Path(folder), dtype)


def labels(name: str | Path, root: Path = SHIPPED) -> Labels:
    """Labels of a dictionary by name, folder or address; empty if it has none.

    Raises `DictionaryError` for an unknown name.
    """
    return labels_at(find(name, root))


def read_card(name: str | Path, root: Path = SHIPPED) -> dict[str, Any]:
    """What the card says. Raises `FormatError` if there is none, or it is damaged."""
    return read_json(find(name, root) / CARD)


def _verify(folder: Path) -> None:
    """Raise `FormatError` if a file is not the one that the card was written for."""
    card = read_json(folder / CARD) if (folder / CARD).is_file() else {}
    expected = card.get("sha256", {})
    if not isinstance(expected, dict):
        raise FormatError(f"{folder / CARD} has sha256 that is no object of file names and digests")
    for file, digest in expected.items():
        path = folder / file
        if path.parent != folder or not path.is_file():
            raise FormatError(f"{folder / CARD} lists {file!r}, which is no file of its folder")
        actual = sha256(path)
        if actual != digest:
            raise FormatError(
                f"{path} has sha256 {actual[:12]}…, but its card says {str(digest)[:12]}…: the "
                "file is damaged or was changed; restore it, or delete the card's sha256"
            )
