"""Tensors and JSON out of files that nobody vouches for.

Every reader goes through here, so that a damaged or hostile file ends in one `FormatError`: nothing
is unpickled, shapes are checked against the file's length before memory is asked for, only finite
floating-point numbers pass, and what comes out is float32. Float32 files stay mapped: their pages
are read when used and may be dropped, so a dictionary larger than memory can be loaded.

With `features`, only their rows are read. A column of a stored [d, width] matrix is d separate
numbers; they are read one by one, so the bytes asked for are those of the features alone.
"""

from __future__ import annotations

import json
import os
import warnings
from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from dictionaries.errors import DictionaryError, FormatError, TransposedError
from dictionaries.files.whole import in_one_move

_JSON_LIMIT, _YAML_LIMIT = 4_000_000, 10_000
_DTYPES = {
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F32": torch.float32,
    "F64": torch.float64,
}
_FEW = 32
"""Features are read one by one when they are fewer than one in this many."""


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object. Raises `FormatError` for anything else."""
    try:
        if path.stat().st_size > _JSON_LIMIT:
            raise FormatError(f"{path} is larger than {_JSON_LIMIT} bytes: no dictionary's config")
        value = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        if isinstance(error, FormatError):
            raise
        raise FormatError(f"{path} can't be read as JSON: {error}") from error
    if not isinstance(value, dict):
        raise FormatError(f"{path} holds a {type(value).__name__}, expected a JSON object")
    return value


def read_yaml(path: Path) -> dict[str, Any]:
    """A YAML mapping of plain data. Raises `FormatError` for anything else."""
    import yaml  # type: ignore[import-untyped]

    try:
        if path.stat().st_size > _YAML_LIMIT:
            raise FormatError(f"{path} is larger than {_YAML_LIMIT} bytes: no dictionary's config")
        value = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, yaml.YAMLError, ValueError, RecursionError) as error:
        raise FormatError(f"{path} can't be read as YAML: {error}") from error
    if not isinstance(value, dict):
        raise FormatError(f"{path} holds a {type(value).__name__}, expected a mapping")
    return value


def whole_number(values: dict[str, Any], name: str, path: Path, *, most: int | None = None) -> int:
    """A positive integer of a config, at most `most`. Raises `FormatError` for anything else."""
    value = values.get(name)
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise FormatError(f"{path} says {name} = {value!r}, expected a positive integer")
    if most is not None and value > most:
        raise FormatError(f"{path} says {name} = {value}, expected at most {most}")
    return value


def save_tensors(
    tensors: dict[str, Tensor], path: Path, metadata: dict[str, str] | None = None
) -> None:
    """Write a safetensors file beside and move it there: loaded tensors may be mapped from it."""
    stored = {name: tensor.cpu().contiguous() for name, tensor in tensors.items()}
    with in_one_move(path) as scratch:
        save_file(stored, scratch, metadata)
        if metadata:
            _in_order(scratch)


def _in_order(path: Path) -> None:
    """Sort the metadata, which safetensors writes in random order: same contents, same bytes."""
    with path.open("r+b") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
        header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
        text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
        if len(text) <= length:
            file.seek(8)
            file.write(text.ljust(length))


class Tensors(ABC):
    """The tensors of one file, read when asked for, whole or for some features only."""

    def __init__(self, path: Path, features: Sequence[int] | None = None) -> None:
        self.path = path
        self.wanted = None if features is None else list(features)

    @property
    @abstractmethod
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Name -> shape of every tensor in the file."""

    @abstractmethod
    def _read(self, name: str, axis: int, wanted: list[int] | None) -> Tensor: ...

    def expect(self, required: Collection[str], optional: Collection[str] = ()) -> None:
        """Raise `FormatError` unless the file holds these tensors, and no others."""
        names = set(self.shapes)
        missing, extra = set(required) - names, names - set(required) - set(optional)
        if missing or extra:
            parts = [f"lacks {_listed(missing)}"] if missing else []
            parts += [f"has unknown {_listed(extra)}"] if extra else []
            raise FormatError(
                f"{self.path} {' and '.join(parts)}; expected {_listed(required)}"
                + (f", optionally {_listed(optional)}" if optional else "")
            )

    def check(self, name: str, shape: tuple[int, ...]) -> None:
        """Raise `FormatError` unless tensor `name` has this shape."""
        if self.shapes[name] != shape and self.shapes[name] == shape[::-1]:
            raise TransposedError(
                f"{self.path}: {name} has shape {list(self.shapes[name])}, expected {list(shape)}: "
                "it is transposed; write it the other way round"
            )
        if self.shapes[name] != shape:
            raise FormatError(
                f"{self.path}: {name} has shape {list(self.shapes[name])}, expected {list(shape)}: "
                "the file is damaged, transposed, or for another width"
            )

    def whole(self, name: str) -> Tensor:
        """The whole tensor, float32."""
        return self._checked(name, self._read(name, 0, None))

    def along(self, name: str, axis: int = 0) -> Tensor:
        """The wanted features' part of a tensor whose `axis` counts features, float32."""
        count = self.shapes[name][axis]
        for feature in self.wanted or ():
            if not 0 <= feature < count:
                raise DictionaryError(
                    f"feature {feature} is out of range: {self.path.parent.name} has features 0 "
                    f"to {count - 1}"
                )
        return self._checked(name, self._read(name, axis, self.wanted))

    def _checked(self, name: str, tensor: Tensor) -> Tensor:
        if not tensor.is_floating_point():
            raise FormatError(
                f"{self.path}: {name} is {tensor.dtype}, expected a floating-point tensor"
            )
        if tensor.numel() and not all(bound.isfinite() for bound in tensor.aminmax()):
            raise FormatError(
                f"{self.path}: {name} has NaN or infinite entries; the file is damaged"
            )
        return tensor.to(torch.float32)


class SafeTensors(Tensors):
    """A safetensors file. Its own library checks the header against the length of the file."""

    def __init__(self, path: Path, features: Sequence[int] | None = None) -> None:
        super().__init__(path, features)
        try:
            with safe_open(path, "np"), path.open("rb") as file:
                length = int.from_bytes(file.read(8), "little")
                header = json.loads(file.read(length))
        except (OSError, SafetensorError, ValueError) as error:
            raise FormatError(f"{path} is no whole safetensors file: {error}") from error
        self._start = 8 + length
        self._entries = {name: entry for name, entry in header.items() if name != "__metadata__"}

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        return {name: tuple(entry["shape"]) for name, entry in self._entries.items()}

    def _read(self, name: str, axis: int, wanted: list[int] | None) -> Tensor:
        entry, shape = self._entries[name], self.shapes[name]
        if entry["dtype"] not in _DTYPES:
            raise FormatError(
                f"{self.path}: {name} is stored as {entry['dtype']}; allowed: {_listed(_DTYPES)}"
            )
        if not wanted or len(wanted) * _FEW > shape[axis]:
            tensor = self._mapped(name)
            index = torch.tensor(wanted or [], dtype=torch.long)
            return tensor if wanted is None else tensor.index_select(axis, index)
        return self._read_few(entry, shape, axis, wanted)

    def _mapped(self, name: str) -> Tensor:
        try:
            with safe_open(self.path, "pt") as file:
                tensor: Tensor = file.get_tensor(name)
        except RuntimeError:  # torch maps privately, which takes as much memory as the file is long
            return self._read_only(name)
        return tensor

    def _read_only(self, name: str) -> Tensor:
        """Mapped so that it can't be written to, and so may be larger than memory."""
        entry = self._entries[name]
        start, end = entry["data_offsets"]
        raw = np.memmap(self.path, np.uint8, "r", self._start + start, (end - start,))
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
            flat = torch.from_numpy(raw)
        return flat.view(_DTYPES[entry["dtype"]]).view(self.shapes[name])

    def _read_few(
        self, entry: dict[str, Any], shape: tuple[int, ...], axis: int, wanted: list[int]
    ) -> Tensor:
        """Slices wanted along `axis` of a row-major tensor, each contiguous piece read alone."""
        dtype = _DTYPES[entry["dtype"]]
        outer = int(torch.Size(shape[:axis]).numel())
        piece = int(torch.Size(shape[axis + 1 :]).numel()) * dtype.itemsize
        start = self._start + entry["data_offsets"][0]
        with self.path.open("rb", buffering=0) as file:
            pieces = [
                os.pread(file.fileno(), piece, start + (row * shape[axis] + feature) * piece)
                for row in range(outer)
                for feature in wanted
            ]
        flat = torch.frombuffer(bytearray(b"".join(pieces)), dtype=dtype)
        return flat.view(*shape[:axis], len(wanted), *shape[axis + 1 :])


def _listed(names: Collection[str]) -> str:
    return ", ".join(sorted(names)[:20])
