"""What the core metrics are means of: running lists, per token or, as in sae-bench, per batch."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from steer.maths import metrics

_PIECE = 32
"""Positions at a time: log-probabilities of a vocabulary that stay in the cache."""


class Downstream:
    """Running means of cross entropy and KL over positions."""

    def __init__(self) -> None:
        self.loss: dict[str, list[Tensor]] = {}
        self.kl: dict[str, list[Tensor]] = {}

    def add(self, name: str, clean: Tensor, logits: Tensor, ids: Tensor) -> None:
        loss = self.loss.setdefault(name, [])
        for row, tokens in zip(logits.unsqueeze(1), ids.unsqueeze(1), strict=True):
            for start in range(0, ids.shape[1] - 1, _PIECE):
                part = slice(start, start + _PIECE + 1)
                loss.append(metrics.cross_entropy(row[:, part], tokens[:, part]).flatten().cpu())
        if name != "clean":
            pairs = (t.flatten(0, 1).split(_PIECE) for t in (clean, logits))
            kl = [metrics.kl(p, q).cpu() for p, q in zip(*pairs, strict=True)]
            self.kl.setdefault(name, []).extend(kl)

    def result(self) -> dict[str, float]:
        loss, kl = _means(self.loss), _means(self.kl)
        return {
            "kl_div_score": (kl["ablation"] - kl["sae"]) / kl["ablation"],
            "kl_div_with_ablation": kl["ablation"],
            "kl_div_with_sae": kl["sae"],
            "ce_loss_score": metrics.loss_recovered(loss["clean"], loss["sae"], loss["ablation"]),
            "ce_loss_with_ablation": loss["ablation"],
            "ce_loss_with_sae": loss["sae"],
            "ce_loss_without_sae": loss["clean"],
        }


class Sums:
    """What the reconstruction metrics are means of, per token or, as in sae-bench, per batch."""

    def __init__(self, width: int) -> None:
        self.per_token: dict[str, list[Tensor]] = {}
        self.per_batch: dict[str, list[Tensor]] = {}
        self.active = torch.zeros(width, dtype=torch.float64)
        self.squares = self.residual = 0.0
        self.total: Tensor = torch.zeros(())
        self.tokens = 0

    def add(self, x: Tensor, features: Tensor, rebuilt: Tensor) -> None:
        """x, rebuilt [n, d] and features [n, width] at the positions that count."""
        residual = (x - rebuilt).square().sum(-1)
        norm_in, norm_out = x.norm(dim=-1), rebuilt.norm(dim=-1)
        self._token(
            l2_norm_in=norm_in,
            l2_norm_out=norm_out,
            l2_ratio=norm_out / torch.where(norm_in < 1e-4, 1, norm_in),
            l0=(features != 0).sum(-1).float(),
            l1=features.abs().sum(-1),
            mse=residual / len(x),
            explained_variance_legacy=1 - residual / (x - x.mean(0)).square().sum(-1),
            cossim=torch.cosine_similarity(x, rebuilt, dim=-1, eps=0),
        )
        self._batch(
            squares=x.square().sum(-1).mean(),
            per_dimension=x.square().mean(),
            residual=residual.mean(),
            relative_reconstruction_bias=norm_out.square().mean() / (x * rebuilt).sum(-1).mean(),
        )
        self.active += (features != 0).sum(0).cpu()
        self.squares += x.double().square().sum().item()
        self.residual += residual.double().sum().item()
        self.total = self.total + x.double().sum(0).cpu()
        self.tokens += len(x)

    def _token(self, **values: Tensor) -> None:
        for name, value in values.items():
            self.per_token.setdefault(name, []).append(value.cpu())

    def _batch(self, **values: Tensor) -> None:
        for name, value in values.items():
            self.per_batch.setdefault(name, []).append(value.cpu().reshape(1))

    def result(self) -> dict[str, float]:
        token, batch = _means(self.per_token), _means(self.per_batch)
        variance = batch.pop("squares") - batch.pop("per_dimension") ** 2
        centred = self.squares - self.total.square().sum().item() / self.tokens
        return {
            **token,
            "relative_reconstruction_bias": batch["relative_reconstruction_bias"],
            "explained_variance": 1 - batch["residual"] / variance,
            "fvu": self.residual / centred,
            **_density(self.active / self.tokens),
        }


def _density(density: Tensor) -> dict[str, float]:
    """How frequent features are: shares of them, and of all activity."""
    figures = {"frac_alive": (density > 0).double().mean().item()}
    for percent in (1, 10):
        over = density > percent / 100
        share = density[over].sum() / density.sum() if density.sum() > 0 else torch.zeros(())
        figures[f"freq_over_{percent}_percent"] = over.double().mean().item()
        figures[f"normalized_freq_over_{percent}_percent"] = share.item()
    return figures


def _means(values: dict[str, list[Tensor]]) -> dict[str, float]:
    return {name: _mean(parts) for name, parts in values.items()}


def _mean(parts: Sequence[Tensor]) -> float:
    return torch.cat(list(parts)).double().mean().item()
