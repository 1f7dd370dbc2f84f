"""ΔCE of a dictionary where it reads and writes, be it an autoencoder or a transcoder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from dictionaries.training.activations import keep_mask
from steer.features.contexts import BATCH, OUTLIER_MEDIANS
from steer.lm.passes import plain
from steer.maths import metrics
from steer.quality.conventions import Sample, reconstruction
from steer.quality.splice_loss import splice_loss
from steer.quality.tried import Subject


@dataclass(frozen=True)
class Cost:
    """Nats a token that splicing costs; recovered: of the loss that zeros cost, None if unknown."""

    delta: float
    recovered: float | None


def cost(subject: Subject, ids: Tensor, here: Sample) -> Cost:
    """Of splicing on ids [n, length], at kept positions of `here`."""
    if subject.source != subject.out:
        return Cost(_transcoded(subject, ids, here), None)
    x = here.x
    keep, cutoff = keep_mask(x.norm(dim=-1), OUTLIER_MEDIANS)
    mean = x[keep].mean(0)
    loss = splice_loss(subject.model, subject.dictionary, ids, mean, cutoff, batch=BATCH)
    return Cost(loss.delta, loss.recovered)


def _transcoded(subject: Subject, ids: Tensor, here: Sample) -> float:
    """ΔCE of writing a transcoder's output in place of the site's own, at kept positions."""
    model, site, total = subject.model, subject.model.site(subject.out), 0.0
    for rows, part in zip(ids.split(BATCH), here.split(BATCH), strict=True):
        written, mask = reconstruction(subject.dictionary, part), torch.ones_like(rows)
        for sign, change in ((-1, lambda y: y), (1, _writer(written, part.keep[..., None]))):
            with model.lock:
                logits = plain.replace(model.nn, rows, mask, site, change)
            total += sign * metrics.cross_entropy(logits, rows).sum().item()
    return total / (ids.shape[0] * (ids.shape[1] - 1))


def _writer(written: Tensor, where: Tensor) -> Callable[[Tensor], Tensor]:
    return lambda y: torch.where(where, written.to(y.dtype), y)
