"""What replacing a site by a dictionary's reconstruction costs the model, in nats per token."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from dictionaries.base import Dictionary
from steer import engine, metrics
from steer.cache import Progress
from steer.engine_effects import Resume, clean_pass, resume
from steer.hookpoints import Site, stack_path
from steer.model import Model


@dataclass(frozen=True)
class SpliceLoss:
    """Mean next-token loss over `tokens` predictions, untouched and with the site replaced.

    Only kept positions are replaced: not the first token, nor those whose norm is above `cutoff`.
    """

    clean: float
    spliced: float
    mean_ablated: float
    zero_ablated: float
    tokens: int
    dtype: str
    cutoff: float

    @property
    def delta(self) -> float:
        """ΔCE in nats: spliced minus clean."""
        return self.spliced - self.clean

    @property
    def recovered(self) -> float:
        """Share of the loss that zero ablation costs which the reconstruction gives back."""
        return metrics.loss_recovered(self.clean, self.spliced, self.zero_ablated)


def splice_loss(
    model: Model,
    dictionary: Dictionary,
    contexts: Tensor,
    mean: Tensor,
    cutoff: float,
    *,
    batch: int = 4,
    progress: Progress | None = None,
) -> SpliceLoss:
    """Loss on contexts [n, length] of token ids; `mean` [d] is the site's mean activation.

    Gemma Scope's protocol (Lieberum et al. 2024): first token and outliers are left as they are.
    """
    site = model.site(model.site_of(dictionary))
    ours = dictionary.to(device=model.device)

    def keeping(change: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
        def replacement(x: Tensor) -> Tensor:
            kept = x.float().norm(dim=-1) <= cutoff
            kept[:, 0] = False
            return torch.where(kept.unsqueeze(-1), change(x.float()).to(x.dtype), x)

        return replacement

    variants = {
        "spliced": keeping(ours.reconstruct),
        "mean_ablated": keeping(lambda x: mean.to(x).expand_as(x)),
        "zero_ablated": keeping(torch.zeros_like),
    }
    totals = dict.fromkeys(("clean", *variants), 0.0)
    for start in range(0, len(contexts), batch):
        ids = contexts[start : start + batch].long().to(model.device)
        for name, logits in _passes(model, ids, site, variants):
            totals[name] += metrics.cross_entropy(logits, ids).sum().item()
        if progress:
            progress("measuring loss", min(start + batch, len(contexts)), len(contexts))
    count = contexts.shape[0] * (contexts.shape[1] - 1)
    means = {name: total / count for name, total in totals.items()}
    return SpliceLoss(**means, tokens=count, dtype=model.dtype, cutoff=cutoff)


def _passes(
    model: Model, ids: Tensor, site: Site, variants: Mapping[str, Callable[[Tensor], Tensor]]
) -> Iterator[tuple[str, Tensor]]:
    """Logits [b, s, V] of the clean pass and of each variant.

    At a block's output, the blocks up to there run once and only those above it run again.
    """
    mask = torch.ones_like(ids)
    with model.lock:
        (x,), logits, _ = clean_pass(model.nn, ids, mask, [site], keep=0)
    yield "clean", logits
    below = None
    if site.hookpoint.kind == "resid_post":
        stack = stack_path(model.module)
        below = [f"{stack}.{layer}" for layer in range(site.hookpoint.layer + 1)]
    for name, replacement in variants.items():
        with model.lock:
            if below is None:
                logits = engine.replace(model.nn, ids, mask, site, replacement)
            else:
                logits, _ = resume(model.nn, Resume(ids, mask, below, replacement(x)))
        yield name, logits
