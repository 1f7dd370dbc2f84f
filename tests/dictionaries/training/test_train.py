"""The trainer: sparse gradients, planted features, determinism, and taking up where it stopped."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from dictionaries.architectures import BatchTopK, ReLU, TopK
from dictionaries.config import DictionaryConfig
from dictionaries.dictionary import Dictionary
from dictionaries.errors import TrainingError
from dictionaries.measures.quality import quality
from dictionaries.training.learnable import CALIBRATED_ON
from dictionaries.training.loss import batch_loss, update
from dictionaries.training.sparse import (
    Pattern,
    reconstruct_sparsely,
    select_batch,
    select_tokens,
)
from dictionaries.training.state import TrainState, initialise
from dictionaries.training.train import Step, TrainConfig, train

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


# -- a step's cost is that of its active entries -----------------------------------------------


def dense_mask(pattern: Pattern) -> Tensor:
    mask = torch.zeros(pattern.shape, dtype=torch.bool)
    mask[pattern.rows, pattern.columns] = True
    return mask


def pre_activations(seed: int = 0, shift: float = 0.0) -> Tensor:
    return torch.randn(40, 30, generator=torch.Generator().manual_seed(seed)) + shift


@pytest.mark.parametrize("k", [1, 5, 30])
@pytest.mark.parametrize("shift", [0.0, -2.5])
def test_select_tokens_is_topk(k: int, shift: float) -> None:
    pre = pre_activations(shift=shift)
    index = pre.topk(k, dim=-1).indices
    expected = torch.zeros_like(pre, dtype=torch.bool).scatter(1, index, True) & (pre > 0)
    assert torch.equal(dense_mask(select_tokens(pre, k)), expected)


@pytest.mark.parametrize("k", [1, 5, 30])
@pytest.mark.parametrize("shift", [0.0, -2.5])
@pytest.mark.parametrize("skewed", [False, True])
def test_select_batch_is_topk_of_the_batch(k: int, shift: float, skewed: bool) -> None:
    pre = pre_activations(shift=shift)
    if skewed:  # a sample of rows says little of the others
        pre[1::2] *= 30
    floor = pre.flatten().topk(min(k * len(pre), pre.numel())).values.min()
    expected = (pre >= floor) & (pre > 0)
    assert torch.equal(dense_mask(select_batch(pre, k)), expected)


@pytest.mark.parametrize("select", [select_tokens, select_batch])
@pytest.mark.parametrize("shift", [0.0, -1.5, -9.0])
def test_sparse_gradients_are_the_dense_ones(
    select: Callable[[Tensor, int], Pattern], shift: float
) -> None:
    generator = torch.Generator().manual_seed(0)
    x, target = (torch.randn(40, 12, generator=generator) for _ in range(2))
    shapes = {"W_enc": (12, 30), "b_enc": (30,), "W_dec": (30, 12)}
    weights = {name: torch.randn(*shape, generator=generator) for name, shape in shapes.items()}
    weights["b_enc"] += shift
    sparse, dense = ({n: w.clone().requires_grad_() for n, w in weights.items()} for _ in range(2))
    pattern = select(x @ weights["W_enc"] + weights["b_enc"], 4)
    ours, active = reconstruct_sparsely(x, **sparse, pattern=pattern)
    code = (x @ dense["W_enc"] + dense["b_enc"]).relu() * dense_mask(pattern)
    theirs = code @ dense["W_dec"]
    torch.testing.assert_close(ours, theirs)
    assert torch.equal(active, (code > 0).sum(0))
    for reconstruction in (ours, theirs):
        (reconstruction - target).square().sum().backward()
    for name in weights:
        torch.testing.assert_close(sparse[name].grad, dense[name].grad, atol=1e-3, rtol=1e-4)


@pytest.mark.parametrize("architecture", ["topk", "batchtopk"])
def test_every_weight_gets_its_whole_gradient(architecture: str) -> None:
    """The decoder bias as well: it is added at the end, and subtracted before the encoder."""
    x = planted()[0][:256]
    config = replace(SMALL, architecture=architecture, aux_weight=0.0)
    state = initialise(x, config)
    loss, _, _ = batch_loss(x, state, config)
    loss.backward()
    w = {name: weight.detach().clone().requires_grad_() for name, weight in state.weights.items()}
    pre = (x - w["b_dec"]) @ w["W_enc"] + w["b_enc"]
    select = select_tokens if architecture == "topk" else select_batch
    code = pre.relu() * dense_mask(select(pre.detach(), config.k))
    (x - w["b_dec"] - code @ w["W_dec"]).square().sum(-1).mean().backward()
    for name, weight in state.weights.items():
        torch.testing.assert_close(weight.grad, w[name].grad, atol=1e-3, rtol=1e-3, msg=name)


# -- what comes out ----------------------------------------------------------------------------


@every_setting
def test_planted_features_are_found(settings: dict[str, Any]) -> None:
    x, rows = planted()
    found = train(x, replace(SMALL, samples=400 * 256, **settings), ABOUT)
    best = (rows @ found.W_dec.T).amax(1)
    assert best.mean() > 0.9
    assert (best > 0.9).float().mean() > 0.75
    assert quality(found, x).fvu < 0.15


@every_setting
def test_what_is_returned(settings: dict[str, Any]) -> None:
    x, _ = planted()
    found = train(x, replace(SMALL, **settings), ABOUT)
    expected = {"batchtopk": BatchTopK, "topk": TopK, "standard": ReLU}[settings["architecture"]]
    assert type(found) is expected
    assert found.config == ABOUT
    torch.testing.assert_close(found.W_dec.norm(dim=-1), torch.ones(M))
    assert all(getattr(found, name).isfinite().all() for name in found.tensor_names())
    assert not any(getattr(found, name).requires_grad for name in found.tensor_names())
    assert torch.equal(found.W_enc, found.W_dec.T) == settings.get("tied", False)


@pytest.mark.parametrize("size", [1e-2, 1.0, 1e3])
def test_units_are_those_of_the_activations(size: float) -> None:
    x, _ = planted()
    plain, scaled = (train(part, SMALL, ABOUT) for part in (x, x * size))
    torch.testing.assert_close(scaled.W_dec, plain.W_dec, atol=1e-2, rtol=1e-2)
    ours, theirs = scaled.reconstruct(x * size) / size, plain.reconstruct(x)
    assert (ours - theirs).square().mean() < 1e-3 * theirs.var()


def fainted(config: TrainConfig, x: Tensor, rows: Tensor) -> TrainState:
    """The planted dictionary, but half of its features never reach the top k: all dead."""
    state = initialise(x, config)
    with torch.no_grad():
        state.weights["W_dec"].copy_(rows)
        state.weights["W_enc"].copy_(rows.T)
        state.weights["W_enc"][:, ::2] *= 0.005
    state.idle[::2] = config.dead_after + 1
    return state


@pytest.mark.parametrize(("aux_weight", "revived"), [(0.0, False), (1 / 32, True)])
def test_auxk_revives_dead_features_that_are_needed(aux_weight: float, revived: bool) -> None:
    x, rows = planted()
    x = x - x.mean(0)
    config = replace(SMALL, architecture="topk", aux_weight=aux_weight, dead_after=200_000)
    state = fainted(config, x, rows)
    steps = 300
    for step in range(steps):
        batch = x[torch.arange(step * 256, (step + 1) * 256) % len(x)] * state.scale
        loss, _, active = batch_loss(batch, state, config)
        update(loss, state, config, steps)
        state.idle[active > 0] = 0
    dead = (state.idle > config.dead_after).float().mean().item()
    assert (dead == 0) == revived


def test_auxk_does_not_cost_faithfulness_where_features_are_superfluous() -> None:
    """They stay silent: what they are given to explain is too little to reach the top k."""
    x, _ = planted()
    config = replace(SMALL, architecture="topk", width=3 * M, samples=400 * 256)
    about = replace(ABOUT, width=3 * M)
    without, with_aux = (
        quality(train(x, replace(config, aux_weight=weight), about), x) for weight in (0.0, 1 / 32)
    )
    assert with_aux.fvu < without.fvu * 1.1
    assert with_aux.dead_share > without.dead_share


def test_the_threshold_gives_k_features_on_average() -> None:
    x, _ = planted()
    assert quality(train(x, SMALL, ABOUT), x).l0 == pytest.approx(K, rel=0.02)


def test_a_heavier_l1_gives_fewer_active_features() -> None:
    x, _ = planted()
    l0 = [
        quality(train(x, replace(SMALL, architecture="standard", l1=l1), ABOUT), x).l0
        for l1 in (0.0, 0.3, 1.0)
    ]
    assert l0[0] > l0[1] > l0[2]


def test_half_precision_activations() -> None:
    x, _ = planted()
    assert quality(train(x.to(torch.bfloat16), SMALL, ABOUT), x).fvu < 0.3


# -- the same again ----------------------------------------------------------------------------


def equal(one: Dictionary, other: Dictionary) -> bool:
    return all(torch.equal(getattr(one, n), getattr(other, n)) for n in one.tensor_names())


@every_setting
def test_the_same_seed_gives_the_same_dictionary(settings: dict[str, Any]) -> None:
    x, _ = planted()
    config = replace(SMALL, samples=30 * 256, **settings)
    one = train(x, config, ABOUT)
    torch.manual_seed(99)
    assert equal(train(x, config, ABOUT), one)
    assert not equal(train(x, replace(config, seed=1), ABOUT), one)


class Interrupted(Exception):
    """Raised by a report, in the middle of training."""


@every_setting
def test_it_is_taken_up_where_it_stopped(settings: dict[str, Any], tmp_path: Path) -> None:
    x, _ = planted()
    config, file = replace(SMALL, **settings), tmp_path / "checkpoint"

    def interrupt(step: Step) -> None:
        if step.number == 60:
            raise Interrupted

    with pytest.raises(Interrupted):
        train(x, config, ABOUT, checkpoint=file, checkpoint_every=25, report=interrupt)
    seen: list[int] = []
    resumed = train(x, config, ABOUT, checkpoint=file, report=lambda step: seen.append(step.number))
    assert seen == [60, 80, 100]
    assert equal(resumed, train(x, config, ABOUT))
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint"]


def test_a_checkpoint_of_another_config(tmp_path: Path) -> None:
    x, _ = planted()
    options: dict[str, Any] = {"checkpoint": tmp_path / "checkpoint", "checkpoint_every": 10}
    config = replace(SMALL, samples=20 * 256)
    train(x, config, ABOUT, **options)
    for other in (replace(config, k=4), replace(config, seed=1)):
        with pytest.raises(TrainingError, match="checkpoint of another config"):
            train(x, other, ABOUT, **options)
    with pytest.raises(TrainingError, match="checkpoint of another config"):
        train(x[:, :8], config, replace(ABOUT, d_in=8), **options)


def test_reports() -> None:
    x, _ = planted()
    steps: list[Step] = []
    train(x, SMALL, ABOUT, report=steps.append)
    assert [step.number for step in steps] == [20, 40, 60, 80, 100]
    assert {step.total for step in steps} == {100}
    assert steps[-1].fvu < steps[0].fvu
    assert steps[-1].l0 == pytest.approx(K, abs=0.1)
    assert all(0 <= step.dead <= 1 for step in steps)


# -- refused -----------------------------------------------------------------------------------

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
