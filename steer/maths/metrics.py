"""Pure functions of logits and activations. All in nats; shapes in the docstrings."""

from __future__ import annotations

import torch
from torch import Tensor

from steer.maths.precision import exact


def kl(p_logits: Tensor, q_logits: Tensor) -> Tensor:
    """KL(p‖q) from logits [..., V] -> [...].

    From log_softmax, so it is finite for any finite logits, and invariant to a shift of either.
    """
    p = p_logits.double().log_softmax(-1)
    q = q_logits.double().log_softmax(-1)
    return divergence(p, q).to(exact(p_logits).dtype)


def divergence(p: Tensor, q: Tensor) -> Tensor:
    """KL(p‖q) from log-probabilities [..., V] -> [...]; a token that p never gives adds nothing."""
    return (p.exp() * torch.where(p == -torch.inf, 0.0, p - q)).sum(-1)


def change(before: Tensor, after: Tensor) -> Tensor:
    """after − before; 0 where both are −∞, which a model may give to tokens on purpose."""
    return torch.where(before == after, 0.0, after - before)


def cross_entropy(logits: Tensor, ids: Tensor) -> Tensor:
    """Loss of each next token: logits [b, s, V], ids [b, s] -> [b, s-1]."""
    log_p = exact(logits[:, :-1]).log_softmax(-1)
    return -log_p.gather(-1, ids[:, 1:, None]).squeeze(-1)


def logit_difference(logits: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
    """Mean logit of the token ids `positive` minus that of `negative`: [..., V] -> [...]."""
    return exact(logits[..., positive]).mean(-1) - exact(logits[..., negative]).mean(-1)


def delta_logprob(clean: Tensor, edited: Tensor) -> Tensor:
    """Change of every token's log-probability, [..., V]."""
    return change(exact(clean).log_softmax(-1), exact(edited).log_softmax(-1))


def fvu(x: Tensor, reconstruction: Tensor) -> Tensor:
    """Fraction of variance unexplained of x [n, d]: E‖x − x̂‖² / E‖x − E x‖²."""
    return (x - reconstruction).square().sum() / (x - x.mean(0)).square().sum()


def l0(features: Tensor) -> Tensor:
    """Mean number of active features of [..., width]."""
    return (features != 0).float().sum(-1).mean()


def loss_recovered(clean: float, spliced: float, ablated: float) -> float:
    """(CE_ablated − CE_spliced) / (CE_ablated − CE_clean): 1 is perfect, 0 no better than ablation.

    Raises ZeroDivisionError if ablating the site costs nothing.
    """
    return (ablated - spliced) / (ablated - clean)
