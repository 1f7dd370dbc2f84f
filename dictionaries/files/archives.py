"""Tensors in zip archives: `.npz` of numpy, `.pt` of torch.

Both are read without running anything: npz arrays never as objects, and torch files by torch's
restricted unpickler, which refuses every name but tensors and plain containers (and the ones a
caller allows). What an archive promises is compared with its length before memory is asked for.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dictionaries.errors import FormatError
from dictionaries.files.keys import Keys
from dictionaries.files.tensors import Tensors

_MOST_COMPRESSED = 50
"""An npz entry that shrank more than this is no table of weights."""
_SMALL = 1_000_000


class Loaded(Tensors):
    """Tensors that are in memory, or mapped; `keys` is what may be beside them."""

    def __init__(
        self,
        path: Path,
        tensors: Mapping[str, Any],
        features: Sequence[int] | None = None,
        keys: Keys | None = None,
    ) -> None:
        super().__init__(path, features)
        (keys or Keys(())).check({n: v for n, v in tensors.items() if not _is_tensor(v)}, path)
        sizes = None if path.suffix == ".npz" else _storage_sizes(path)
        self._tensors = {n: t for n, t in tensors.items() if _is_tensor(t)}
        for name, tensor in self._tensors.items():
            if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_meta:
                raise FormatError(f"{path}: {name} is no plain tensor")
            if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
                raise FormatError(f"{path}: {name} claims more entries than the file holds")
            if sizes is not None and tensor.untyped_storage().nbytes() not in sizes:
                raise FormatError(f"{path}: {name} has another length than the file says")

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        return {name: tuple(tensor.shape) for name, tensor in self._tensors.items()}

    def number(self, name: str) -> int | float:
        """A tensor of one entry, as a number."""
        self.check(name, ())
        return self._tensors[name].item()

    def _read(self, name: str, axis: int, wanted: list[int] | None) -> Tensor:
        tensor = self._tensors[name].detach()
        if wanted is None:
            return tensor
        return tensor.index_select(axis, torch.tensor(wanted, dtype=torch.long))


def _is_tensor(value: object) -> bool:
    return isinstance(value, Tensor)


def read_torch(path: Path, allowed: Sequence[tuple[Callable[..., Any], str]] = ()) -> Any:
    """What `torch.save` wrote, its tensors mapped rather than read.

    `allowed` pairs a class of ours with the name in the file that it stands for.
    Raises `FormatError` for a damaged file, and for one that names anything else.
    """
    with _zip(path) as archive:
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
            raise FormatError(f"{path} has compressed entries, which torch.save does not write")
    try:
        with torch.serialization.safe_globals(list(allowed)):
            return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:  # damaged pickles raise anything: RuntimeError, KeyError, ...
        reason = str(error).strip().splitlines()[0] if str(error) else type(error).__name__
        raise FormatError(f"{path} can't be read without running its code: {reason}") from error


def read_state(path: Path) -> dict[str, Any]:
    """A state dict that `torch.save` wrote; names that are no text raise `FormatError`."""
    state = read_torch(path)
    if not isinstance(state, dict) or not all(isinstance(name, str) for name in state):
        raise FormatError(f"{path} holds a {type(state).__name__}, expected named tensors")
    return state


def only_file(path: Path, *suffixes: str) -> Path | None:
    """The path itself, or the one file with such a name in the folder; None if there isn't one."""
    paths = [path] if path.is_file() else path.glob("*") if path.is_dir() else []
    files = [file for file in paths if file.name.endswith(suffixes) and file.is_file()]
    return files[0] if len(files) == 1 else None


def state_names(path: Path) -> frozenset[str]:
    """The names in the only `.pt` or `.pth` there; none if there is none."""
    file = only_file(path, ".pt", ".pth")
    return frozenset(read_state(file)) if file else frozenset()


def state_file(path: Path) -> Path:
    """The only `.pt` or `.pth` there. Raises `FormatError` if there isn't just one."""
    file = only_file(path, ".pt", ".pth")
    if file is None:
        raise FormatError(f"{path} is no .pt or .pth file, and no folder with just one")
    return file


def read_npz(path: Path) -> dict[str, Tensor]:
    """Arrays of an npz file. Raises `FormatError` for anything but plain numbers."""
    with _zip(path) as archive:
        return {
            entry.filename.removesuffix(".npy"): _read_array(path, archive, entry)
            for entry in archive.infolist()
        }


def _read_array(path: Path, archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> Tensor:
    name = f"{path}: {entry.filename}"
    if entry.file_size > max(_SMALL, _MOST_COMPRESSED * entry.compress_size):
        raise FormatError(f"{name} unpacks to {entry.file_size} bytes: no table of weights")
    try:
        with archive.open(entry) as file:
            version = np.lib.format.read_magic(file)
            read = {(1, 0): np.lib.format.read_array_header_1_0}.get(
                version, np.lib.format.read_array_header_2_0
            )
            shape, fortran, dtype = read(file)
            if dtype.kind not in "fiu" or dtype.itemsize > 8:
                raise FormatError(f"{name} holds {dtype}, expected numbers")
            if prod(shape) * dtype.itemsize != entry.file_size - file.tell():
                raise FormatError(f"{name} promises {shape}, but has another length")
            flat = np.frombuffer(bytearray(file.read()), dtype=dtype)
    except FormatError:
        raise
    except Exception as error:  # zipfile and numpy raise anything for damaged bytes
        raise FormatError(f"{name} can't be read: {error}") from error
    array = flat.reshape(shape, order="F" if fortran else "C")
    return torch.from_numpy(array.astype(dtype.newbyteorder("="), copy=False))


def _storage_sizes(path: Path) -> frozenset[int]:
    """Lengths of the storages in a torch file; a mapped one that is longer runs into the next."""
    with _zip(path) as archive:
        return frozenset(e.file_size for e in archive.infolist() if "/data/" in e.filename)


@contextmanager
def _zip(path: Path) -> Iterator[zipfile.ZipFile]:
    """The archive, whose entries fit into the file."""
    try:
        archive = zipfile.ZipFile(path)
    except (OSError, zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise FormatError(f"{path} is no whole zip archive: {error}") from error
    with archive:
        if sum(entry.compress_size for entry in archive.infolist()) > path.stat().st_size:
            raise FormatError(f"{path} has overlapping entries")
        yield archive
