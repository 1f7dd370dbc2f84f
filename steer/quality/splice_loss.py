"""What replacing a site by a dictionary's reconstruction costs the model, in nats per token."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from dictionaries.dictionary import Dictionary
from steer.features.fit import site_of
from steer.lm.language_model import LanguageModel
from steer.maths import metrics
from steer.progress import Progress
from steer.quality.replacement import replacement_losses


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
    model: LanguageModel,
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
    losses = replacement_losses(
        model,
        site_of(model, dictionary),
        contexts,
        {
            "spliced": dictionary.to(device=model.device).reconstruct_texts,
            "mean_ablated": lambda x: mean.to(x).expand_as(x),
            "zero_ablated": torch.zeros_like,
        },
        cutoff,
        batch=batch,
        progress=progress,
    )
    return SpliceLoss(
        **{name: values.double().mean().item() for name, values in losses.items()},
        tokens=contexts.shape[0] * (contexts.shape[1] - 1),
        dtype=model.precision,
        cutoff=cutoff,
    )
