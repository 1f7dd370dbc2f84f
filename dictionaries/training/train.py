"""The seed paper's loop: expand activations under a sparsity constraint, decode, compare.

Cunningham et al. 2023: c = ReLU(Mx + b), x̂ = Mᵀc, loss ‖x − x̂‖² + α‖c‖₁, rows of M of unit norm
(`architecture="standard", tied=True`). Its successors bound the number of active features
instead: TopK (Gao et al. 2024) per token, BatchTopK (Bussmann et al. 2024) per batch.

Inputs are scaled so that E‖x‖ = √d while training. The scale is folded back into the weights at
the end, decoder rows have unit norm, and so an activation is measured in the residual's own
units: feature i contributes a vector of length f_i.

A step of the TopK family costs one dense product: all pre-activations, to choose candidates, in
bf16 where the CPU has it in hardware. The chosen entries' values and all gradients are sparse and
in fp32.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from dictionaries.architectures import BatchTopK, ReLU, TopK
from dictionaries.config import DictionaryConfig
from dictionaries.dictionary import Dictionary
from dictionaries.training.config import TrainConfig
from dictionaries.training.learnable import (
    CALIBRATED_ON,
    check_activations,
    check_loss,
    check_weights,
)
from dictionaries.training.loss import batch_loss, update
from dictionaries.training.state import (
    TrainState,
    initialise,
    resume,
    sample_of,
    save_checkpoint,
    variance,
)

REVISION = 3
"""Raised when the same config and activations come to give other weights."""


@dataclass(frozen=True)
class Step:
    """What one step reports: number, steps in all, fraction of variance unexplained, L0, dead."""

    number: int
    total: int
    fvu: float
    l0: float
    dead: float


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
    Raises `TrainingError` for a checkpoint of another config, activations that nothing can be
    learned from, or a training that diverged; the last checkpoint is then the one before it.
    """
    check_activations(activations, config.batch)
    total = config.samples // config.batch
    state = resume(checkpoint, config, activations.shape[1]) or initialise(activations, config)
    mean_variance = variance(activations, state.scale)
    for seen in steps(activations, config, state):
        if report and (state.step % 20 == 0 or state.step == total):
            dead = (state.idle > config.dead_after).float().mean().item()
            l0 = seen.active.sum().item() / config.batch
            report(Step(state.step, total, seen.error / mean_variance, l0, dead))
        if checkpoint and state.step % checkpoint_every == 0:
            check_weights(state)
            save_checkpoint(checkpoint, state, config)
    return finish(state, activations, config, dictionary_config)


@dataclass(frozen=True, eq=False)
class Seen:
    """What a step saw: the squared error a token, and how often each feature was active [width]."""

    error: float
    active: Tensor


def steps(activations: Tensor, config: TrainConfig, state: TrainState) -> Iterator[Seen]:
    """Go on from `state`, which changes, to the end of the training, a step at a time."""
    total = config.samples // config.batch
    order = _Order(len(activations), config)
    while state.step < total:
        chosen = order.batch(state.step)
        x = activations[chosen].float() * state.scale
        loss, error, active = batch_loss(x, state, config)
        check_loss(loss, x, activations, chosen, state.step)
        update(loss, state, config, total)
        _count_idle(active, state, len(x))
        state.step += 1
        yield Seen(error, active)


def _count_idle(active: Tensor, state: TrainState, samples: int) -> None:
    state.idle += samples
    state.idle[active > 0] = 0


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


@torch.no_grad()
def finish(
    state: TrainState, activations: Tensor, config: TrainConfig, about: DictionaryConfig
) -> Dictionary:
    """Fold the scale and the centring into the weights; calibrate the threshold.

    With s the scale: f = act(s·x·W_enc + b) / s and x̂ = f·W_dec + b_dec/s.
    """
    check_weights(state)
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
            sample = sample_of(activations, CALIBRATED_ON)
            threshold = b_enc.new_full(b_enc.shape, _calibrate(sample, W_enc, b_enc, config.k))
            return BatchTopK(W_enc, b_enc, W_dec, b_dec, about, threshold=threshold, k=config.k)


def _calibrate(sample: Tensor, W_enc: Tensor, b_enc: Tensor, k: int) -> float:
    """The threshold at which k features are active on average over the sample."""
    tops: list[Tensor] = []
    for x in sample.split(4096):
        pre = (x @ W_enc + b_enc).relu()
        tops.append(pre.topk(min(4 * k, pre.shape[1]), dim=-1).values.flatten())
    values = torch.cat(tops)
    return values.kthvalue(max(1, len(values) - k * len(sample))).values.item()


__all__ = ["REVISION", "Seen", "Step", "TrainConfig", "finish", "steps", "train"]
