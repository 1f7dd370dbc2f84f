"""Faithfulness against sparsity: one dictionary's place on the frontier, with intervals.

FVU = E‖x − x̂‖² / E‖x − E x‖² (Cunningham et al. 2023). Shrinkage γ = E‖x̂‖² / E[x̂·x], centred on
E x (Rajamanoharan et al. 2024a). Sampling is by contexts, since tokens of one text go together.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from dictionaries.architectures import AbsTopK, TopK
from dictionaries.config import DictionaryConfig
from dictionaries.dictionary import Dictionary
from steer.maths.statistics import Interval, interval


@dataclass(frozen=True)
class Reconstruction:
    """Figures over the kept positions of n contexts; l0 per token, dead: share never active."""

    fvu: Interval
    l0: float
    shrinkage: float
    dead: float


@torch.inference_mode()
def reconstruction(
    dictionary: Dictionary, activations: Tensor, keep: Tensor, mean: Tensor, *, seed: int = 0
) -> Reconstruction:
    """activations [n, length, d] with keep [n, length]; mean [d] is what x is centred on."""
    errors, variances = [], []
    code = inner = active = 0.0
    fired = torch.zeros(dictionary.width, dtype=torch.bool, device=activations.device)
    for context, real in zip(activations, keep, strict=True):
        x = context[real].float()
        features, norm = dictionary.encode(x)
        centred, rebuilt = x - mean, dictionary.decode(features, norm) - mean
        errors.append((centred - rebuilt).square().sum())
        variances.append(centred.square().sum())
        code += rebuilt.square().sum().item()
        inner += (rebuilt * centred).sum().item()
        active += (features != 0).sum().item()
        fired |= (features != 0).any(0)
    return Reconstruction(
        fvu=ratio_interval(torch.stack(errors), torch.stack(variances), seed=seed),
        l0=active / int(keep.sum()),
        shrinkage=code / inner if inner else float("nan"),
        dead=1 - fired.float().mean().item(),
    )


def ratio_interval(numerator: Tensor, denominator: Tensor, *, seed: int = 0) -> Interval:
    """Σ numerator / Σ denominator over contexts [n], with a bootstrap interval.

    The ratio is linearised: its residuals, numerator − ratio · denominator, are resampled.
    """
    ratio = (numerator.sum() / denominator.sum()).item()
    residuals = (numerator - ratio * denominator) / denominator.mean()
    residual = interval(residuals, seed=seed)
    return replace(residual, mean=ratio, low=residual.low + ratio, high=residual.high + ratio)


def truncated(basis: Dictionary, k: int) -> AbsTopK:
    """A basis of both signs (`baselines.pca`, `baselines.ica`) that keeps k coefficients a token.

    The k largest in magnitude, with their sign: the control at equal L0 of the paper's appendix G.
    """
    n = basis.width // 2
    config = replace(basis.config, width=n)
    return AbsTopK(
        basis.W_enc[:, :n],
        basis.b_enc[:n],
        basis.W_dec[:n],
        basis.b_dec,
        config,
        f"{basis.name} k={k}",
        k=min(k, n),
    )


def random_dictionary(sample: Tensor, width: int, k: int, *, seed: int = 0) -> TopK:
    """Random tied unit rows, TopK, about the sample's mean, with the best single gain.

    sample [n, d]: the activations that mean and gain are fitted to.
    """
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randn(width, sample.shape[1], generator=generator)
    rows /= rows.norm(dim=-1, keepdim=True)
    x = sample.float()
    mean = x.mean(0)
    config = DictionaryConfig(sample.shape[1], width)
    random = TopK(rows.T.contiguous(), -(mean @ rows.T), rows, mean, config, f"random k={k}", k=k)
    code = random.reconstruct(x) - mean
    gain = ((x - mean) * code).sum() / code.square().sum()
    return replace(random, W_dec=rows * gain)
