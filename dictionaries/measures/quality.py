"""How faithful a dictionary is to the activations it was trained on, without any model.

FVU = E‖x − x̂‖² / E‖x − E x‖² (Cunningham et al. 2023); explained variance = 1 − FVU.
Shrinkage γ = E‖x̂‖² / E[x̂·x] with x and x̂ centred on E x (Rajamanoharan et al. 2024a): 1 is none.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from dictionaries.dictionary import Dictionary


@dataclass(frozen=True)
class Quality:
    """Figures over n activations."""

    fvu: float
    l0: float
    dead_share: float
    shrinkage: float
    tokens: int

    @property
    def explained_variance(self) -> float:
        return 1 - self.fvu


@torch.inference_mode()
def quality(dictionary: Dictionary, activations: Tensor, batch: int = 4096) -> Quality:
    """Reconstruct activations [n, d] batch by batch.

    A feature is dead if it is not active on any of them.
    """
    mean = activations.float().mean(0)
    error = variance = code = inner = active = 0.0
    fired = torch.zeros(dictionary.width, dtype=torch.bool, device=activations.device)
    for part in activations.split(batch):
        x = part.float()
        features, norm = dictionary.encode(x)
        reconstruction = dictionary.decode(features, norm)
        error += (x - reconstruction).square().sum().item()
        variance += (x - mean).square().sum().item()
        code += (reconstruction - mean).square().sum().item()
        inner += ((reconstruction - mean) * (x - mean)).sum().item()
        active += (features != 0).sum().item()
        fired |= (features != 0).any(0)
    return Quality(
        fvu=error / variance,
        l0=active / len(activations),
        dead_share=1 - fired.float().mean().item(),
        shrinkage=code / inner if inner else float("nan"),
        tokens=len(activations),
    )


@torch.inference_mode()
def pca_fvu(fit: Tensor, activations: Tensor, k: int) -> float:
    """FVU of PCA at equal L0: per token, its k largest principal coefficients. Shapes [n, d]."""
    mean = fit.float().mean(0)
    covariance = torch.cov((fit.float() - mean).T)
    components = torch.linalg.eigh(covariance).eigenvectors

    def reconstruct(x: Tensor) -> Tensor:
        coefficients = (x - mean) @ components
        largest = coefficients.abs().topk(k, dim=-1).indices
        sparse = torch.zeros_like(coefficients).scatter(
            -1, largest, coefficients.gather(-1, largest)
        )
        return sparse @ components.T + mean

    return _fvu(activations, reconstruct)


@torch.inference_mode()
def random_fvu(fit: Tensor, activations: Tensor, width: int, k: int, seed: int = 0) -> float:
    """FVU of a random dictionary at equal L0 and width: tied unit rows, TopK, best single gain."""
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randn(width, fit.shape[1], generator=generator)
    rows /= rows.norm(dim=-1, keepdim=True)
    mean = fit.float().mean(0)

    def decode(x: Tensor) -> Tensor:
        pre = (x - mean) @ rows.T
        values, index = pre.relu().topk(k, dim=-1)
        return torch.zeros_like(pre).scatter(-1, index, values) @ rows

    sample = fit[:: max(1, len(fit) // 4096)].float()
    code = decode(sample)
    gain = ((sample - mean) * code).sum() / code.square().sum()
    return _fvu(activations, lambda x: decode(x) * gain + mean)


def _fvu(activations: Tensor, reconstruct: Callable[[Tensor], Tensor], batch: int = 4096) -> float:
    mean = activations.float().mean(0)
    error = variance = 0.0
    for part in activations.split(batch):
        x = part.float()
        error += (x - reconstruct(x)).square().sum().item()
        variance += (x - mean).square().sum().item()
    return error / variance
