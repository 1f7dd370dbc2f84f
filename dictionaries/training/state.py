"""What training changes: where it begins, and how it is kept on disk between two runs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dictionaries.errors import TrainingError
from dictionaries.files.whole import in_one_move
from dictionaries.training.config import TrainConfig


@dataclass
class TrainState:
    """What training changes, and all that a checkpoint holds."""

    weights: dict[str, Tensor]
    optimizer: torch.optim.Optimizer
    idle: Tensor
    step: int
    scale: float

    def to_dict(self) -> dict[str, Any]:
        return {
            "weights": self.weights,
            "optimizer": self.optimizer.state_dict(),
            "idle": self.idle,
            "numbers": [self.step, self.scale],
        }


def sample_of(activations: Tensor, count: int = 16_384) -> Tensor:
    """About `count` of activations [n, d], evenly spread, in fp32."""
    stride = max(1, len(activations) // count)
    return activations[::stride][:count].float()


def variance(activations: Tensor, scale: float) -> float:
    """E‖x − E x‖² of the scaled activations."""
    return (sample_of(activations) * scale).var(dim=0, correction=0).sum().item()


def initialise(activations: Tensor, config: TrainConfig) -> TrainState:
    """Random unit rows, the encoder their transpose, the decoder bias at the mean."""
    some = sample_of(activations)
    d = some.shape[1]
    scale = d**0.5 / some.norm(dim=-1).mean().item()
    rows = first_rows(config, d).clone().to(some.device)
    weights = {"W_dec": rows, "b_enc": some.new_zeros(config.width), "b_dec": some.mean(0) * scale}
    if not config.tied:
        weights["W_enc"] = rows.T.clone().contiguous()
    idle = torch.zeros(config.width, dtype=torch.long, device=some.device)
    return _build(weights, idle, config, scale)


def first_rows(config: TrainConfig, d: int) -> Tensor:
    """The decoder's rows [width, d] before the first step: random directions. Not to be changed."""
    return _drawn(config.width, d, config.seed)


@lru_cache(maxsize=1)
def _drawn(width: int, d: int, seed: int) -> Tensor:
    rows = torch.randn(width, d, generator=torch.Generator().manual_seed(seed))
    return rows / rows.norm(dim=-1, keepdim=True)


_HELD = {"decoder": "W_dec", "encoder": "W_enc"}
"""Which weight gets no gradient."""


def _build(
    weights: dict[str, Tensor], idle: Tensor, config: TrainConfig, scale: float
) -> TrainState:
    learning = [weight for name, weight in weights.items() if name != _HELD.get(config.frozen)]
    for weight in learning:
        weight.requires_grad_()
    optimizer = torch.optim.Adam(learning, lr=config.learning_rate, betas=(0.9, 0.999), fused=True)
    return TrainState(weights, optimizer, idle, 0, scale)


def save_checkpoint(path: Path, state: TrainState, config: TrainConfig) -> None:
    """Write it atomically."""
    with in_one_move(path) as scratch, scratch.open("wb") as file:
        torch.save({"config": config.to_dict(), **state.to_dict()}, file)


def resume(path: Path | None, config: TrainConfig, d: int) -> TrainState | None:
    """The checkpoint's state, or None if there is none; `TrainingError` if of another config."""
    if path is None or not path.exists():
        return None
    saved = torch.load(path, weights_only=True)
    if saved["config"] != config.to_dict() or saved["weights"]["W_dec"].shape[1] != d:
        raise TrainingError(f"{path} is a checkpoint of another config; train in another folder")
    step, scale = saved["numbers"]
    weights = {name: weight.detach() for name, weight in saved["weights"].items()}
    state = _build(weights, saved["idle"], config, scale)
    state.optimizer.load_state_dict(saved["optimizer"])
    state.step = step
    return state
