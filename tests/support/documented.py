"""Weights and formulae for formats whose original library can't be installed here.

No file is the original's: each test writes one in the layout that its source documents, and
compares with the source's own formula. See each module of `dictionaries.formats`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from dictionaries.dictionary import Dictionary

D, M = 8, 24
_G = torch.Generator().manual_seed(5)


def normal(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=_G)


E, B, DEC, C = normal(M, D), normal(M), normal(M, D), normal(D)
"""Encoder rows [m, d], encoder bias, decoder rows [m, d], decoder bias."""
SKIP, THETA = normal(D, D), normal(M).abs() + 0.1


def top(pre: Tensor, k: int) -> Tensor:
    values, index = pre.relu().topk(k, dim=-1)
    return torch.zeros_like(pre).scatter(-1, index, values)


def gate(pre: Tensor, threshold: Tensor | float) -> Tensor:
    return pre.relu() * (pre > threshold)


def assert_computes(dictionary: Dictionary, x: Tensor, features: Tensor, written: Tensor) -> None:
    torch.testing.assert_close(dictionary.encode(x)[0], features, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(dictionary.reconstruct(x), written, atol=1e-5, rtol=1e-5)


def store(tensors: dict[str, Tensor], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path)


def save(state: Any, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(state, path)
