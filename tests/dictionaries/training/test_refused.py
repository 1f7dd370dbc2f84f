"""Settings and activations that nothing is learned from, and what is left of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from dictionaries.errors import TrainingError
from dictionaries.training.learnable import CALIBRATED_ON
from dictionaries.training.train import Step, train
from tests.dictionaries.training.planted import ABOUT, SMALL, D, M, every_setting, planted

BAD: list[dict[str, Any]] = [
    {"architecture": "gated"},
    {"architecture": "TopK"},
    {"tied": True},
    {"width": 0},
    {"k": 0},
    {"k": M + 1},
    {"samples": 0},
    {"samples": 255},
    {"batch": -1},
    {"candidates_dtype": "int3"},
    {"candidates_dtype": "int32"},
    {"learning_rate": 0.0},
    {"learning_rate": float("nan")},
    {"l1": -1.0},
]


@pytest.mark.parametrize("settings", BAD, ids=str)
def test_bad_settings(settings: dict[str, Any]) -> None:
    with pytest.raises(TrainingError):
        replace(SMALL, **settings)


def test_too_few_activations() -> None:
    with pytest.raises(TrainingError, match="255 activations are fewer than one batch of 256"):
        train(torch.randn(255, D), SMALL, ABOUT)


def spoilt(value: float, at: tuple[int, ...], n: int = 1024) -> Tensor:
    activations = planted(n)[0]
    for row in at:
        activations[row, 2] = value
    return activations


def assert_finite(checkpoint: Path) -> None:
    """Of the last step that was sound, if there was one."""
    if checkpoint.exists():
        weights = torch.load(checkpoint, weights_only=True)["weights"]
        assert all(weight.isfinite().all() for weight in weights.values())


UNLEARNABLE: dict[str, tuple[Tensor, str]] = {
    "one nan": (spoilt(float("nan"), (3,)), "1 of 1024 activations that were looked at are not"),
    "infinite": (spoilt(float("-inf"), (0, 9)), "2 of 1024 activations that were looked at are"),
    "fp16": ((planted(1024)[0] * 1e6).half(), "float16 holds at most 65504, so harvest in"),
    "zeros": (torch.zeros(1024, D), "all activations are zero: .* check which site was harvested"),
    "constant": (torch.full((1024, D), 0.3), "all activations are the same"),
    "constant bf16": (planted(1)[0].bfloat16().expand(1024, D), "all activations are the same"),
    "huge": (planted(1024)[0] * 1e30, "too large: their squares overflow float32"),
}


@pytest.mark.parametrize(("activations", "said"), UNLEARNABLE.values(), ids=UNLEARNABLE.keys())
@every_setting
def test_what_nothing_is_learned_from(
    settings: dict[str, Any], activations: Tensor, said: str, tmp_path: Path
) -> None:
    """Before the first step: no report, no file."""
    steps: list[Step] = []
    config = replace(SMALL, **settings)
    path = tmp_path / "state.pt"
    with pytest.raises(TrainingError, match=said):
        train(activations, config, ABOUT, checkpoint=path, checkpoint_every=1, report=steps.append)
    assert (steps, list(tmp_path.iterdir())) == ([], [])


def test_a_rare_one_is_named_when_its_batch_comes(tmp_path: Path) -> None:
    """Of many activations every second is looked at first, and this is not one of them."""
    activations, path = spoilt(float("nan"), (70_001,), 2 * CALIBRATED_ON), tmp_path / "state.pt"
    config = replace(SMALL, batch=8192, samples=2 * CALIBRATED_ON)
    said = r"batch \d+ holds 1 of 8192 activations that are not finite \(number 70001\): leave them"
    with pytest.raises(TrainingError, match=said):
        train(activations, config, ABOUT, checkpoint=path, checkpoint_every=1)
    assert_finite(path)


def test_a_training_that_diverges_leaves_nothing_that_is_not_finite(tmp_path: Path) -> None:
    activations, path = planted(1024)[0], tmp_path / "state.pt"
    config = replace(SMALL, learning_rate=1e38)
    with pytest.raises(TrainingError, match="training diverged; lower learning_rate"):
        train(activations, config, ABOUT, checkpoint=path, checkpoint_every=1)
    assert_finite(path)
