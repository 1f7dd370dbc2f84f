"""Activations made of known features, and small settings that find them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from dictionaries.config import DictionaryConfig
from dictionaries.training.train import TrainConfig

D, M, K = 16, 24, 3
ABOUT = DictionaryConfig(D, M, "resid_post.1", "tiny")
SMALL = TrainConfig(
    width=M,
    k=K,
    samples=100 * 256,
    batch=256,
    learning_rate=3e-3,
    dead_after=2000,
    aux_k=4,
    candidates_dtype="float32",
)
SETTINGS: dict[str, dict[str, Any]] = {
    "batchtopk": {"architecture": "batchtopk"},
    "topk": {"architecture": "topk"},
    "l1": {"architecture": "standard", "l1": 0.3},
    "tied l1": {"architecture": "standard", "l1": 0.3, "tied": True},
}
every_setting = pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS.keys())


def planted(n: int = 4096, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Activations [n, d] of three random features each, and the features' directions [m, d]."""
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randn(M, D, generator=generator)
    rows /= rows.norm(dim=-1, keepdim=True)
    chosen = torch.rand(n, M, generator=generator).topk(K).indices
    strength = 5 + 5 * torch.rand(n, K, generator=generator)
    return torch.zeros(n, M).scatter(1, chosen, strength) @ rows + 2.0, rows
