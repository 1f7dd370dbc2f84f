"""How many of the known features a trained dictionary has, beside how much it explains.

Every architecture of the trainer, and baselines of the same recipe with a part that is frozen
(Korznikov et al. 2026, arXiv 2602.14111).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from apps.studies.truth.synthetic import FEATURES, L0, D, Synthetic
from dictionaries.config import DictionaryConfig
from dictionaries.dictionary import Dictionary
from dictionaries.measures.quality import quality
from dictionaries.training.train import Step, TrainConfig, train
from steer.maths.statistics import Interval, interval
from steer.progress import Progress

COSINE = 0.9
"""From which a decoder row is a true feature."""
TENTH = FEATURES // 10


@dataclass(frozen=True)
class Size:
    """samples: distinct ones to train on; heldout; seen: samples in all."""

    samples: int = 150_000
    heldout: int = 8_192
    seen: int = 300_000


def configurations(seen: int, seed: int) -> Mapping[str, TrainConfig]:
    """Label -> how it is trained: as wide and as sparse as the truth."""
    common = TrainConfig(
        architecture="topk",
        width=FEATURES,
        k=round(L0),
        samples=seen,
        batch=256,
        learning_rate=3e-3,
        dead_after=max(1024, seen // 10),
        seed=seed,
    )
    l1 = replace(common, architecture="standard", l1=1.0)
    return {
        "TopK": common,
        "TopK, frozen decoder": replace(common, frozen="decoder"),
        "TopK, soft-frozen decoder": replace(common, frozen="soft decoder"),
        "TopK, frozen encoder": replace(common, frozen="encoder"),
        "BatchTopK": replace(common, architecture="batchtopk"),
        "L1": l1,
        "L1, tied": replace(l1, tied=True),
    }


def recovered(
    data: Synthetic,
    label: str,
    config: TrainConfig,
    *,
    checkpoint: Path | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Train one, and its row."""

    def report(step: Step) -> None:
        if progress:
            progress(f"training {label}: FVU {step.fvu:.3f}", step.number, step.total)

    about = DictionaryConfig(D, config.width, "synthetic")
    dictionary = train(data.train, config, about, checkpoint=checkpoint, report=report)
    return {**figures(data, dictionary), "samples": len(data.train), "seen": config.samples}


def figures(data: Synthetic, dictionary: Dictionary) -> dict[str, Any]:
    """Shares, with their intervals over the true features, and the quality on held-out samples.

    recovered: true features that a row has a cosine of at least `COSINE` with; of_frequent and
    of_rare: of the most and the least frequent tenth. closest: mean over the true features of the
    cosine with the nearest row. true_rows: rows that have such a cosine with a true feature.
    """
    measured = quality(dictionary, data.heldout)
    cosines = torch.nn.functional.normalize(dictionary.W_dec, dim=-1) @ data.rows.T
    nearest = cosines.amax(0)
    hit = (nearest >= COSINE).double()
    return {
        "explained_variance": measured.explained_variance,
        "l0": measured.l0,
        "dead": measured.dead_share,
        **_told("recovered", interval(hit)),
        "of_frequent": hit[:TENTH].mean().item(),
        "of_rare": hit[-TENTH:].mean().item(),
        **_told("closest", interval(nearest)),
        "true_rows": (cosines.amax(1) >= COSINE).double().mean().item(),
    }


def chance(data: Synthetic, seed: int) -> Tensor:
    """Of each true feature, the cosine with the nearest of as many random directions."""
    generator = torch.Generator().manual_seed(10_000 + seed)
    rows = torch.nn.functional.normalize(torch.randn(FEATURES, D, generator=generator), dim=-1)
    return (rows @ data.rows.T).amax(0)


def _told(name: str, estimate: Interval) -> dict[str, float]:
    return {name: estimate.mean, f"{name}_low": estimate.low, f"{name}_high": estimate.high}
