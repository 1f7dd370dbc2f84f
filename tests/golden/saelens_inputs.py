"""Seeded inputs and weights of the SAELens golden files, and ties that no rounding decides."""

from __future__ import annotations

import zlib

import torch
from torch import Tensor

D_IN, D_OUT, D_SAE, K = 8, 6, 24, 5
N_ROWS, N_DYADIC, CONSTANT_ROW = 16, 4, 4
SEED = 20240607


def make_inputs() -> Tensor:
    """The rows that every case is evaluated on (see the module docstring)."""
    x = torch.randn(N_ROWS, D_IN, generator=torch.Generator().manual_seed(SEED))
    x[:N_DYADIC] = (x[:N_DYADIC] * 16).round() / 16
    x[CONSTANT_ROW] = 0.5
    x[-1] = 50 * x[-2]
    return x


def make_weights(case: str, shapes: dict[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """Seeded values for the named parameters; the decoder rows have norms from 0.3 to 3."""
    generator = torch.Generator().manual_seed(SEED + zlib.crc32(case.encode()))
    scales = {"W_enc": 0.4, "b_dec": 0.5}
    weights: dict[str, Tensor] = {}
    for name in sorted(shapes):
        if name == "topk_threshold":
            weights[name] = torch.tensor(1.25, dtype=torch.double)
        elif name == "threshold":
            weights[name] = torch.empty(shapes[name]).uniform_(0.05, 1.5, generator=generator)
        elif name == "W_dec":
            rows = torch.randn(shapes[name], generator=generator)
            norms = torch.empty(shapes[name][0], 1).uniform_(0.3, 3.0, generator=generator)
            weights[name] = rows / rows.norm(dim=-1, keepdim=True) * norms
        else:
            weights[name] = torch.randn(shapes[name], generator=generator) * scales.get(name, 0.3)
    return weights


def add_ties(weights: dict[str, Tensor], x: Tensor, subtract_b_dec: bool) -> list[list[int]]:
    """Make some pre-activations equal to their threshold exactly; return the [row, feature] pairs.

    The encoder and the biases become multiples of a power of two, so that on the dyadic rows of
    ``x`` every product and every partial sum is a float32: the pre-activation has no rounding,
    whatever the order of summation and whether or not b_dec is folded into b_enc.
    """
    for name, grid in (("W_enc", 16), ("b_dec", 16), ("b_enc", 256)):
        weights[name] = (weights[name] * grid).round() / grid
    rows = x - weights["b_dec"] if subtract_b_dec else x
    pre = rows @ weights["W_enc"] + weights["b_enc"]
    exact = rows[:N_DYADIC].double() @ weights["W_enc"].double() + weights["b_enc"].double()
    assert torch.equal(pre[:N_DYADIC].double(), exact), "the dyadic rows are rounded"
    ties: list[list[int]] = []
    used: set[int] = set()
    for row in range(N_DYADIC):
        free = [i for i in range(D_SAE - 2) if pre[row, i] > 0.25 and i not in used][:2]
        for feature in free:
            weights["threshold"][feature] = pre[row, feature]
            ties.append([row, feature])
        used.update(free)
    # Threshold 0 is a plain ReLU, and so is a negative one in sae-lens's inference classes (its
    # training class would let the negative pre-activations through).
    weights["threshold"][D_SAE - 2] = 0.0
    weights["threshold"][D_SAE - 1] = -0.5
    assert ((pre[:, -1] < 0) & (pre[:, -1] > -0.5)).any(), "no row tests the negative threshold"
    assert len(ties) >= 4, "too few ties"
    return ties
