"""Folders that hold a dictionary for each block, one file or folder a block: which is which.

    layer_{i}          a transcoder (circuit-tracer)
    W_enc_{i}          a block of a cross-layer transcoder, with W_dec_{i} (circuit-tracer)
    params_layer_{i}   a block of a cross-layer transcoder (Gemma Scope 2)
    layers.{i}[.mlp]   a folder, called after the module that it is of (sparsify)

An address ends in `#5` for block 5 of such a folder; the file itself says the same.
"""

from __future__ import annotations

import re
from pathlib import Path

from dictionaries.errors import FormatError

_MODULE = re.compile(r"(?:[a-z_]+\.)*(?:layers|h)\.(\d{1,4})(\..+)?")
_IN_A_MODULE = "sae.safetensors"
_NAMED = re.compile(r"(layer_|W_enc_|params_layer_)(\d{1,4})\.safetensors")


def number_of(path: Path, prefix: str) -> int | None:
    """Which block a file is of, if its name starts so."""
    named = _NAMED.fullmatch(path.name)
    return int(named[2]) if named and named[1] == prefix else None


def blocks_in(folder: Path) -> dict[int, Path]:
    """The files of a folder by block, or its modules; none for a folder of another kind."""
    entries = sorted(folder.iterdir()) if folder.is_dir() else []
    named = ((path, _NAMED.fullmatch(path.name)) for path in entries)
    files = {int(name[2]): path for path, name in named if name}
    modules = {block: several[0] for block, several in _modules(entries).items()}
    return dict(sorted((files or modules).items()))


def _modules(entries: list[Path]) -> dict[int, list[Path]]:
    """Folders by block; the block's own alone where it's there, all of its parts where it isn't."""
    modules: dict[int, list[Path]] = {}
    for path in entries:
        name = _MODULE.fullmatch(path.name)
        if name and (path / _IN_A_MODULE).is_file():
            modules.setdefault(int(name[1]), []).append(path)
    own = {block: [p for p in paths if _is_whole(p)] for block, paths in modules.items()}
    return {block: own[block] or paths for block, paths in modules.items()}


def _is_whole(path: Path) -> bool:
    name = _MODULE.fullmatch(path.name)
    return name is not None and name[2] is None


def block_file(folder: Path, block: int) -> Path:
    """The file of one block. Raises `FormatError` if the folder has no such block, or several."""
    several = _modules(sorted(folder.iterdir()) if folder.is_dir() else []).get(block, [])
    if len(several) > 1:
        raise FormatError(
            f"{folder} holds several dictionaries of block {block}: name one of "
            f"{', '.join(path.name for path in several)} as its folder"
        )
    blocks = blocks_in(folder)
    if block not in blocks:
        raise FormatError(f"{folder} has no block {block}; it holds {listed(blocks) or 'none'}")
    return blocks[block]


def only_block(folder: Path) -> Path:
    """The folder's one file, or the folder itself if it has none. Raises `FormatError` for more."""
    blocks = blocks_in(folder)
    if len(blocks) > 1:
        raise FormatError(
            f"{folder} holds a dictionary for each of the blocks {listed(blocks)}: name one, such "
            f"as {folder}#{next(iter(blocks))}"
        )
    return next(iter(blocks.values()), folder)


def listed(blocks: dict[int, Path]) -> str:
    """`0 to 25`, or `3, 7` where some are missing."""
    numbers = list(blocks)
    if numbers and numbers == list(range(numbers[0], numbers[-1] + 1)) and len(numbers) > 1:
        return f"{numbers[0]} to {numbers[-1]}"
    return ", ".join(map(str, numbers))
