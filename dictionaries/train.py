"""The seed paper's loop: expand activations under a sparsity constraint, decode, compare.

Cunningham et al. 2023: c = ReLU(Mx + b), x̂ = Mᵀc, loss ‖x − x̂‖² + α‖c‖₁, rows of M of unit norm
(`architecture="standard", tied=True`). Its successors bound the number of active features
instead: TopK (Gao et al. 2024) per token, BatchTopK (Bussmann et al. 2024) per batch.

Inputs are scaled so that E‖x‖ = √d while training. The scale is folded back into the weights at
the end, decoder rows have unit norm, and so an activation is measured in the residual's own
units: feature i contributes a vector of length f_i.

A step of the TopK family costs one dense product (all pre-activations, in bf16 where the CPU has
it, to choose candidates); the chosen entries' values and all gradients are sparse and in fp32.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dictionaries.architectures import BatchTopK, ReLU, TopK
from dictionaries.base import Dictionary, DictionaryConfig
from dictionaries.errors import TrainingError
from dictionaries.sparse import reconstruct_sparsely, select_batch, select_tokens

ARCHITECTURES = ("standard", "topk", "batchtopk")
DTYPES = ("float32", "bfloat16", "float16")


@dataclass(frozen=True)
class TrainConfig:
    """Settings of one dictionary.

    architecture: `standard` (L1), `topk` or `batchtopk`.
    width: number of features.
    k: active features per token (TopK family).
    l1: weight α of ‖c‖₁ against ‖x − x̂‖² (`standard`).
    tied: encoder = decoder transposed, as in the seed paper (`standard`).
    samples: activations seen in all, repeats included.
    batch: activations per step.
    learning_rate: Adam's, warmed up over 2% of the steps and decayed to 0 over the last 30%.
    aux_weight: weight of the AuxK loss that revives dead features.
    aux_k: dead features per token that AuxK uses.
    dead_after: a feature is dead when it has not fired for this many activations.
    candidates_dtype: dtype in which all pre-activations are computed to choose the active ones.
    seed: of the initialisation and the order of samples.
    """

    architecture: str = "batchtopk"
    width: int = 4608
    k: int = 32
    l1: float = 0.0
    tied: bool = False
    samples: int = 4_000_000
    batch: int = 2048
    learning_rate: float = 4e-4
    aux_weight: float = 1 / 32
    aux_k: int = 256
    dead_after: int = 500_000
    candidates_dtype: str = "bfloat16"
    seed: int = 0

    def __post_init__(self) -> None:
        if self.architecture not in ARCHITECTURES:
            raise TrainingError(
                f"architecture {self.architecture!r} can't be trained; "
                f"allowed: {', '.join(ARCHITECTURES)}"
            )
        if self.tied and self.architecture != "standard":
            raise TrainingError("tied weights go with architecture standard")
        if min(self.width, self.k, self.samples, self.batch) < 1 or self.k > self.width:
            raise TrainingError("width, k, samples and batch must be positive, and k at most width")
        if self.candidates_dtype not in DTYPES:
            allowed = ", ".join(DTYPES)
            raise TrainingError(
                f"candidates_dtype {self.candidates_dtype!r} is unknown; allowed: {allowed}"
            )
        if not (0 < self.learning_rate < math.inf and 0 <= self.l1 < math.inf):
            raise TrainingError("learning_rate must be positive, l1 not negative, and both finite")


@dataclass(frozen=True)
class Step:
    """What one step reports: number, steps in all, fraction of variance unexplained, L0, dead."""

    number: int
    total: int
    fvu: float
    l0: float
    dead: float


@dataclass
class _State:
    """What training changes, and all that a checkpoint holds."""

    weights: dict[str, Tensor]
    optimizer: torch.optim.Optimizer
    idle: Tensor
    step: int
    scale: float
    cutoff: float

    def to_dict(self) -> dict[str, Any]:
        return {
            "weights": self.weights,
            "optimizer": self.optimizer.state_dict(),
            "idle": self.idle,
            "numbers": [self.step, self.scale, self.cutoff],
        }


def train(
    activations: Tensor,
    config: TrainConfig,
    dictionary_config: DictionaryConfig,
    *,
    checkpoint: Path | None = None,
    checkpoint_every: int = 500,
    report: Callable[[Step], None] | None = None,
) -> Dictionary:
    """Train on activations [n, d] (any float dtype; mapped from disk is fine).

    Deterministic given the config. With `checkpoint`, the state is written there every
    `checkpoint_every` steps, atomically, and taken up again if the file is of the same config.
    Raises `TrainingError` for too few activations or a checkpoint of another config.
    """
    n, d = activations.shape
    if n < config.batch:
        raise TrainingError(f"{n} activations are fewer than one batch of {config.batch}")
    steps = config.samples // config.batch
    state = _resume(checkpoint, config, d) or _initialise(activations, config, steps)
    order = _Order(n, config)
    mean_variance = _variance(activations, state.scale)
    while state.step < steps:
        x = activations[order.batch(state.step)].float() * state.scale
        loss, error, active = _loss(x, state, config)
        _update(loss, state, config, steps)
        _count_idle(active, state, len(x))
        state.step += 1
        if report and (state.step % 20 == 0 or state.step == steps):
            dead = (state.idle > config.dead_after).float().mean().item()
            l0 = active.sum().item() / len(x)
            report(Step(state.step, steps, error / mean_variance, l0, dead))
        if checkpoint and state.step % checkpoint_every == 0:
            _save_checkpoint(checkpoint, state, config)
    return _finish(state, activations, config, dictionary_config)


# -- one step ----------------------------------------------------------------------------------


def _loss(x: Tensor, state: _State, config: TrainConfig) -> tuple[Tensor, float, Tensor]:
    """The loss, the squared error per token, and how often each feature was active."""
    w = state.weights
    encoder = w["W_dec"].T if config.tied else w["W_enc"]
    centred = x - w["b_dec"]
    if config.architecture == "standard":
        features = (centred @ encoder + w["b_enc"]).relu()
        residual = centred - features @ w["W_dec"]
        error = residual.square().sum(-1).mean()
        loss = error + config.l1 * features.sum(-1).mean()
        return loss, error.item(), (features > 0).sum(0)
    with torch.no_grad():
        low = getattr(torch, config.candidates_dtype)
        pre = centred.to(low) @ encoder.to(low) + w["b_enc"].to(low)
        select = select_batch if config.architecture == "batchtopk" else select_tokens
        pattern = select(pre, config.k)
    reconstruction, active = reconstruct_sparsely(centred, encoder, w["b_enc"], w["W_dec"], pattern)
    residual = centred - reconstruction
    error = residual.square().sum(-1).mean()
    return error + _aux_loss(centred, residual.detach(), state, config), error.item(), active


def _aux_loss(centred: Tensor, residual: Tensor, state: _State, config: TrainConfig) -> Tensor:
    """AuxK (Gao et al. 2024): dead features alone reconstruct what the live ones left."""
    dead = (state.idle > config.dead_after).nonzero().flatten()
    if not len(dead) or not config.aux_weight:
        return residual.new_zeros(())
    w = state.weights
    pre = (centred @ w["W_enc"][:, dead] + w["b_enc"][dead]).relu()
    values, index = pre.topk(min(config.aux_k, len(dead)), dim=-1)
    kept = torch.zeros_like(pre).scatter(-1, index, values)
    error = (residual - kept @ w["W_dec"][dead]).square().sum(-1).mean()
    return config.aux_weight * error


def _update(loss: Tensor, state: _State, config: TrainConfig, steps: int) -> None:
    state.optimizer.zero_grad(set_to_none=True)
    loss.backward()
    decoder = state.weights["W_dec"]
    with torch.no_grad():
        if decoder.grad is not None:  # rows stay on the unit sphere: drop the radial part
            decoder.grad -= (decoder.grad * decoder).sum(-1, keepdim=True) * decoder
        for group in state.optimizer.param_groups:
            group["lr"] = config.learning_rate * _schedule(state.step, steps)
        state.optimizer.step()
        decoder /= decoder.norm(dim=-1, keepdim=True)


def _schedule(step: int, steps: int) -> float:
    return min(1.0, (step + 1) / max(1, steps // 50), (steps - step) / max(1, 0.3 * steps))


def _count_idle(active: Tensor, state: _State, samples: int) -> None:
    state.idle += samples
    state.idle[active > 0] = 0


# -- beginning and end -------------------------------------------------------------------------


class _Order:
    """A seeded permutation for every pass over the activations; the last part-batch is left out."""

    def __init__(self, n: int, config: TrainConfig) -> None:
        self.n, self.size, self.seed = n, config.batch, config.seed
        self.per_epoch = n // config.batch
        self.epoch, self.permutation = -1, torch.empty(0)

    def batch(self, step: int) -> Tensor:
        epoch, within = divmod(step, self.per_epoch)
        if epoch != self.epoch:
            generator = torch.Generator().manual_seed(self.seed * 1_000_003 + epoch)
            self.epoch, self.permutation = epoch, torch.randperm(self.n, generator=generator)
        # Sorted, so that a mapped file is read forwards.
        return self.permutation[within * self.size : (within + 1) * self.size].sort().values


def _sample(activations: Tensor, count: int = 16_384) -> Tensor:
    stride = max(1, len(activations) // count)
    return activations[::stride][:count].float()


def _variance(activations: Tensor, scale: float) -> float:
    return (_sample(activations) * scale).var(dim=0, correction=0).sum().item()


def _initialise(activations: Tensor, config: TrainConfig, steps: int) -> _State:
    sample = _sample(activations)
    d = sample.shape[1]
    scale = d**0.5 / sample.norm(dim=-1).mean().item()
    generator = torch.Generator().manual_seed(config.seed)
    rows = torch.randn(config.width, d, generator=generator)
    rows /= rows.norm(dim=-1, keepdim=True)
    weights = {"W_dec": rows, "b_enc": torch.zeros(config.width), "b_dec": sample.mean(0) * scale}
    if not config.tied:
        weights["W_enc"] = rows.T.clone().contiguous()
    return _state(weights, torch.zeros(config.width, dtype=torch.long), config, scale)


def _state(weights: dict[str, Tensor], idle: Tensor, config: TrainConfig, scale: float) -> _State:
    for weight in weights.values():
        weight.requires_grad_()
    optimizer = torch.optim.Adam(
        list(weights.values()), lr=config.learning_rate, betas=(0.9, 0.999), fused=True
    )
    return _State(weights, optimizer, idle, 0, scale, 0.0)


def _save_checkpoint(path: Path, state: _State, config: TrainConfig) -> None:
    temporary = path.with_suffix(".tmp")
    torch.save({"config": asdict(config), **state.to_dict()}, temporary)
    os.replace(temporary, path)


def _resume(path: Path | None, config: TrainConfig, d: int) -> _State | None:
    if path is None or not path.exists():
        return None
    saved = torch.load(path, weights_only=True)
    if saved["config"] != asdict(config) or saved["weights"]["W_dec"].shape[1] != d:
        raise TrainingError(
            f"{path} is a checkpoint of another config; delete it or train elsewhere"
        )
    step, scale, _ = saved["numbers"]
    weights = {name: weight.detach() for name, weight in saved["weights"].items()}
    state = _state(weights, saved["idle"], config, scale)
    state.optimizer.load_state_dict(saved["optimizer"])
    state.step = step
    return state


@torch.no_grad()
def _finish(
    state: _State, activations: Tensor, config: TrainConfig, about: DictionaryConfig
) -> Dictionary:
    """Fold the scale and the centring into the weights; calibrate the threshold.

    With s the scale: f = act(s·x·W_enc + b) / s and x̂ = f·W_dec + b_dec/s.
    """
    w = {name: weight.detach() for name, weight in state.weights.items()}
    encoder = w["W_dec"].T if config.tied else w["W_enc"]
    W_enc, W_dec = encoder.contiguous(), w["W_dec"]
    b_enc = (w["b_enc"] - w["b_dec"] @ encoder) / state.scale
    b_dec = w["b_dec"] / state.scale
    match config.architecture:
        case "standard":
            return ReLU(W_enc, b_enc, W_dec, b_dec, about)
        case "topk":
            return TopK(W_enc, b_enc, W_dec, b_dec, about, k=config.k)
        case _:
            sample = _sample(activations, 65_536)
            threshold = torch.full((config.width,), _calibrate(sample, W_enc, b_enc, config.k))
            return BatchTopK(W_enc, b_enc, W_dec, b_dec, about, threshold=threshold, k=config.k)


def _calibrate(sample: Tensor, W_enc: Tensor, b_enc: Tensor, k: int) -> float:
    """The threshold at which k features are active on average over the sample."""
    kept: list[Tensor] = []
    for x in sample.split(4096):
        pre = (x @ W_enc + b_enc).relu()
        kept.append(pre.topk(min(4 * k, pre.shape[1]), dim=-1).values.flatten())
    values = torch.cat(kept)
    return values.kthvalue(max(1, len(values) - k * len(sample))).values.item()
