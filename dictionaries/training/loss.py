"""The loss of one batch, and the step down it."""

from __future__ import annotations

import torch
from torch import Tensor

from dictionaries.training.config import TrainConfig
from dictionaries.training.sparse import (
    PreActivations,
    reconstruct_sparsely,
    select_batch,
    select_tokens,
)
from dictionaries.training.state import TrainState, first_rows


def batch_loss(x: Tensor, state: TrainState, config: TrainConfig) -> tuple[Tensor, float, Tensor]:
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
        pre = PreActivations(centred.to(low), encoder.to(low), w["b_enc"].to(low))
        select = select_batch if config.architecture == "batchtopk" else select_tokens
        pattern = select(pre, config.k)
    reconstruction, active = reconstruct_sparsely(
        x, w["b_dec"], encoder, w["b_enc"], w["W_dec"], pattern
    )
    residual = centred - reconstruction
    error = residual.square().sum(-1).mean()
    return error + _aux_loss(centred, residual.detach(), state, config), error.item(), active


def _aux_loss(centred: Tensor, residual: Tensor, state: TrainState, config: TrainConfig) -> Tensor:
    """AuxK (Gao et al. 2024): dead features alone reconstruct what the live ones left.

    It revives features that are needed. Superfluous ones, where the live features leave little,
    are scaled down to that little and stay silent, so a wide dictionary of simple data has *more*
    dead features with it than without, at the same error.
    """
    dead = (state.idle > config.dead_after).nonzero().flatten()
    if not len(dead) or not config.aux_weight:
        return residual.new_zeros(())
    w = state.weights
    pre = (centred @ w["W_enc"][:, dead] + w["b_enc"][dead]).relu()
    values, index = pre.topk(min(config.aux_k, len(dead)), dim=-1)
    sparse = torch.zeros_like(pre).scatter(-1, index, values)
    error = (residual - sparse @ w["W_dec"][dead]).square().sum(-1).mean()
    return config.aux_weight * error


def update(loss: Tensor, state: TrainState, config: TrainConfig, steps: int) -> None:
    state.optimizer.zero_grad(set_to_none=True)
    loss.backward()
    decoder = state.weights["W_dec"]
    with torch.no_grad():
        if decoder.grad is not None:  # rows stay on the unit sphere: drop the radial part
            decoder.grad -= (decoder.grad * decoder).sum(-1, keepdim=True) * decoder
        for group in state.optimizer.param_groups:
            group["lr"] = config.learning_rate * _schedule(state.step, steps)
        state.optimizer.step()
        if decoder.requires_grad:
            decoder /= decoder.norm(dim=-1, keepdim=True)
        if config.frozen == "soft decoder":
            start = first_rows(config, decoder.shape[1]).to(decoder.device)
            _pull_back(decoder, start, config.least_cosine)


def _pull_back(rows: Tensor, start: Tensor, least: float) -> None:
    """Turn rows [width, d] that left the cone around their start back to its edge; all of length 1.

    The edge is a little inside, so that rounding does not take them out again.
    """
    least = min(least + 2e-6, 1.0)
    along = (rows * start).sum(-1, keepdim=True)
    aside = rows - along * start
    edge = least * start + (1 - least**2) ** 0.5 * torch.nn.functional.normalize(aside, dim=-1)
    rows.copy_(torch.where(along < least, edge, rows))


def _schedule(step: int, steps: int) -> float:
    return min(1.0, (step + 1) / max(1, steps // 50), (steps - step) / max(1, 0.3 * steps))
