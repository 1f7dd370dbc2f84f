"""A dictionary in another library's format, or the reason why it can't be said there.

What was written is read back and compared before it takes its place: a copy that loads as something
else is worse than none.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch

from dictionaries import catalogue
from dictionaries.beside.labels import FILE as LABELS
from dictionaries.dictionary import Dictionary
from dictionaries.errors import DictionaryError, FormatError
from dictionaries.files.place import sha256, writable_folder
from dictionaries.files.whole import write_whole
from dictionaries.formats import dictionary_learning, load_folder, saelens, sparsify

WRITERS: dict[str, Callable[[Dictionary, Path], None]] = {
    "saelens": saelens.write,
    "sparsify": sparsify.write,
    "dictionary_learning": dictionary_learning.write,
}
_TOLERANCE = 1e-4


def convert(
    source: str | Path, destination: str | Path, to: str, *, overwrite: bool = False
) -> Path:
    """Write the dictionary `source` in format `to` into the folder `destination`; returns that.

    Its card, statistics and labels go along. A sparsify folder is named by its module there, so
    the site is written into cfg.json too.
    Raises `DictionaryError` for an unknown format, or a destination that holds something unless
    `overwrite`; `FormatError` for what the format can't express.
    """
    if to not in WRITERS:
        raise DictionaryError(f"can't write {to!r}; formats: {', '.join(WRITERS)}")
    folder = Path(destination)
    if folder.exists() and not folder.is_dir():
        raise DictionaryError(f"{folder} is a file; give a folder")
    if folder.is_dir() and any(folder.iterdir()) and not overwrite:
        raise DictionaryError(f"{folder} is not empty: choose another folder, or say overwrite")
    writable_folder(folder.parent)
    dictionary = catalogue.load(source)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as scratch:
        made = Path(scratch) / folder.name
        WRITERS[to](dictionary, made)
        _compare(dictionary, load_folder(made))
        _take_along(dictionary, made)
        if folder.exists():
            shutil.rmtree(folder)
        made.replace(folder)
    return folder


def _compare(original: Dictionary, copy: Dictionary) -> None:
    """Raise `FormatError` unless both say the same of any input, and of their sites."""
    for name in ("hookpoint", "hookpoint_out"):
        said, copied = getattr(original.config, name), getattr(copy.config, name)
        if said != copied:
            raise FormatError(
                f"the format has no name for {name} {said}: it would be read as {copied}"
            )
    generator = torch.Generator().manual_seed(0)
    x = original.b_dec if original.b_dec.shape == (original.config.d_in,) else torch.zeros(1)
    noise = torch.randn(64, original.config.d_in, generator=generator)
    x = x + noise * max(1.0, x.abs().mean().item())
    texts = x.unsqueeze(0)
    for ours, theirs in (
        (original.encode_texts(texts)[0], copy.encode_texts(texts)[0]),
        (original.reconstruct_texts(texts), copy.reconstruct_texts(texts)),
    ):
        scale = ours.abs().amax(-1, keepdim=True).clamp(min=1.0)
        off = ((ours - theirs).abs() / scale).amax(-1)
        if (off > _TOLERANCE).float().mean() > 0.1:  # a rounding may pass a threshold here or there
            raise FormatError(f"the copy reads back differently (by {off.max().item():.2g})")


def _take_along(dictionary: Dictionary, folder: Path) -> None:
    if dictionary.statistics is not None:
        dictionary.statistics.save(folder)
    if len(dictionary.labels):
        dictionary.labels.save(folder)
    if dictionary.card is not None:
        files = sorted(p for p in folder.iterdir() if p.name != LABELS)
        digests = {path.name: sha256(path) for path in files}
        card = {**dictionary.card, "sha256": digests}
        text = json.dumps(card, indent=1, ensure_ascii=False)
        write_whole(folder / catalogue.CARD, text + "\n")
