"""A fuzzer of dictionary files.

Each format's tiny valid folder is spoilt in every way that applies: bytes cut, configs changed
key by key, tensors missing, extra, transposed, of another rank, type or size, not finite; headers
that promise terabytes; archives that escape their folder or swell; pickles that import.
"""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tests.support.valid import BASES, Base

Spoil = Callable[[Path], Path]
"""Writes a malformed folder there, and says what to load."""


# -- how to spoil ------------------------------------------------------------------------------


def tensors_spoilt(base: Base) -> Iterator[tuple[str, Base]]:
    for name, tensor in base.tensors.items():
        bad: dict[str, Tensor] = {
            "nan": torch.full_like(tensor, float("nan")),
            "infinite": torch.full_like(tensor, float("inf")),
            "integers": torch.ones_like(tensor, dtype=torch.int32),
            "deeper": tensor.unsqueeze(0),
            "empty": torch.zeros(0),
        }
        if tensor.dim() == 2 and tensor.shape[0] != tensor.shape[1]:
            bad["transposed"] = tensor.T
        if tensor.dim():
            bad["longer"] = torch.cat([tensor, tensor[-1:]])
        if "threshold" in name:
            bad["negative"] = -tensor
        for how, value in bad.items():
            yield f"{name} {how}", replace(base, tensors={**base.tensors, name: value})
        kept = {other: t for other, t in base.tensors.items() if other != name}
        if name != "activation_function.threshold":  # without it, it's a ReLU
            yield f"{name} missing", replace(base, tensors=kept)
    yield "extra tensor", replace(base, tensors={**base.tensors, "evil": torch.zeros(3)})


def configs_spoilt(base: Base) -> Iterator[tuple[str, Base]]:
    values: tuple[Any, ...] = (None, -1, 0, [], True, 1e999)
    for key in base.keys:
        for value in values:
            yield f"{key}={value}", replace(base, said={**base.said, key: value})
        without = {other: value for other, value in base.said.items() if other != key}
        yield f"no {key}", replace(base, said=without)


def cut(base: Base, share: float) -> Spoil:
    def spoil(folder: Path) -> Path:
        where = base.write(folder)
        path = folder / base.weights
        path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
        return where

    return spoil


def text(base: Base, content: bytes) -> Spoil:
    def spoil(folder: Path) -> Path:
        where = base.write(folder)
        (folder / str(base.config)).write_bytes(content)
        return where

    return spoil


def bytes_instead(base: Base, content: bytes) -> Spoil:
    def spoil(folder: Path) -> Path:
        where = base.write(folder)
        (folder / base.weights).write_bytes(content)
        return where

    return spoil


def header(entries: object, length: int | None = None, body: bytes = b"") -> bytes:
    """A safetensors file with this header."""
    said = entries if isinstance(entries, bytes) else json.dumps(entries).encode()
    return (len(said) if length is None else length).to_bytes(8, "little") + said + body


def entry(dtype: str, shape: list[int], start: int, stop: int) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, stop]}


HEADERS = {
    "terabytes": header({"W_enc": entry("F32", [10**6, 10**6], 0, 4 * 10**12)}),
    "overflow": header({"W_enc": entry("F32", [2**62, 2**62], 0, 16)}, body=bytes(16)),
    "negative": header({"W_enc": entry("F32", [-1], 0, -4)}),
    "overlap": header(
        {"a": entry("F32", [2], 0, 8), "b": entry("F32", [2], 4, 12)}, body=bytes(12)
    ),
    "gap": header({"a": entry("F32", [1], 4, 8)}, body=bytes(8)),
    "dtype": header({"W_enc": entry("F99", [1], 0, 4)}, body=bytes(4)),
    "float8": header({"W_enc": entry("F8_E4M3", [4], 0, 4)}, body=bytes(4)),
    "list": header([1]),
    "no json": header(b"{" * 100),
    "long": header({}, length=2**63),
    "longer than the file": header({}, length=10**9),
    "entry": header({"W_enc": 3}),
    "nothing": header({}),
}


class Exploit:
    """Runs a command when a plain unpickler meets it."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (self.command,)


def exploit(base: Base, name: str) -> Spoil:
    def spoil(folder: Path) -> Path:
        bad = Exploit(f"touch {folder / 'trace'}")
        others = {**base.others, name: bad}
        kept = {other: t for other, t in base.tensors.items() if other != name}
        return replace(base, tensors=kept, others=others).write(folder)

    return spoil


def raw(base: Base, state: Callable[[Path], object], **options: Any) -> Spoil:
    def spoil(folder: Path) -> Path:
        where = base.write(folder)
        torch.save(state(folder), folder / base.weights, **options)
        return where

    return spoil


def stretched(base: Base) -> dict[str, Any]:
    """A tensor that claims terabytes of a few bytes."""
    return {**base.tensors, next(iter(base.tensors)): torch.zeros(1, 1).expand(10**6, 10**6)}


def rezip(base: Base, change: Callable[[str, bytes], tuple[str, bytes]], method: int = 0) -> Spoil:
    """The archive with every entry changed."""

    def spoil(folder: Path) -> Path:
        where = base.write(folder)
        path = folder / base.weights
        with zipfile.ZipFile(path) as archive:
            entries = [(i.filename, archive.read(i)) for i in archive.infolist()]
        with zipfile.ZipFile(path, "w", method) as archive:
            for name, content in entries:
                archive.writestr(*change(name, content))
        return where

    return spoil


def npy(shape: str, dtype: str = "<f4", body: bytes = b"") -> bytes:
    said = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(said).to_bytes(2, "little") + said.encode() + body


def cases() -> dict[str, Spoil]:
    """Every malformed folder, by what is wrong with it."""
    made: dict[str, Spoil] = {}
    for name, base in BASES.items():
        for how, bad in (*tensors_spoilt(base), *configs_spoilt(base)):
            made[f"{name}: {how}"] = bad.write
        for share in (0.0, 0.02, 0.3, 0.9, 0.999):
            made[f"{name}: cut to {share}"] = cut(base, share)
        for content in (b"", b"not weights", b"\x80\x04" + b"(" * 1000, b"PK\x03\x04" * 50):
            made[f"{name}: {content[:8]!r}"] = bytes_instead(base, content)
        if base.keys:
            for content in (b"", b"{", b"[]", b"null", b"\xff\xfe", b"[" * 10**5, b" " * 5 * 10**6):
                made[f"{name}: config {content[:4]!r}x{len(content)}"] = text(base, content)
    for how, content in HEADERS.items():
        made[f"header: {how}"] = bytes_instead(BASES["saelens"], content)
    for name in ("dictionary_learning", "openai", "goodfire", "qwen scope"):
        base = BASES[name]
        made[f"{name}: imports beside"] = exploit(base, "evil")
        made[f"{name}: imports instead"] = exploit(base, next(iter(base.tensors)))
        made[f"{name}: is an import"] = raw(base, lambda f: Exploit(f"touch {f / 'trace'}"))
        made[f"{name}: old torch file"] = raw(
            base,
            lambda f: {"a": Exploit(f"touch {f / 'trace'}")},
            _use_new_zipfile_serialization=False,
        )
        made[f"{name}: stretched"] = raw(base, lambda f, b=base: stretched(b))  # type: ignore[misc]
        made[f"{name}: sparse"] = raw(base, lambda f: {"W_enc": torch.eye(3).to_sparse()})
        made[f"{name}: a tensor"] = raw(base, lambda f: torch.zeros(3))
        made[f"{name}: numbered"] = raw(base, lambda f: {1: torch.zeros(3)})
        made[f"{name}: compressed"] = rezip(base, lambda n, c: (n, c), zipfile.ZIP_DEFLATED)
        made[f"{name}: escapes"] = rezip(base, lambda n, c: (f"../../{n}", c))
        made[f"{name}: short storages"] = rezip(
            base, lambda n, c: (n, c[:4] if "/data/" in n else c)
        )
    scope = BASES["gemma scope"]
    arrays = {
        "objects": npy("(1,)", "|O", b"cos\nsystem\n(S'touch trace'\ntR."),
        "terabytes": npy("(1000000, 1000000)"),
        "negative": npy("(-1,)"),
        "text": npy("(1,)", "<U9", bytes(36)),
        "no shape": npy("x"),
        "call": npy("__import__('os').system('touch trace')"),
        "swelling": npy("(5000000,)", body=bytes(20_000_000)),
    }
    for how, content in arrays.items():
        made[f"npz: {how}"] = rezip(scope, lambda n, _, c=content: (n, c), zipfile.ZIP_DEFLATED)  # type: ignore[misc]
    made["npz: escapes"] = rezip(scope, lambda n, c: (f"../../{n}", c))
    return made


CASES = cases()
