"""Which features and texts forecasts are fitted, calibrated and scored on; none is in two parts."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch

from steer.verdicts.texts import default_prompts

SCORED, CALIBRATED, FITTED = 300, 200, 4800
SHARES = (0.15, 0.3, 0.6)
"""Lengths of the pushes, of the stream's median norm."""
CONTEXTS = 8


@dataclass(frozen=True)
class Part:
    """Features, and the texts at whose last token their effect is measured."""

    features: list[int]
    texts: list[str]


def drawn(width: int, seed: int = 0) -> dict[str, Part]:
    """`scored`, `calibrated` and `fitted`; the last has the fit's own texts."""
    order = torch.randperm(width, generator=torch.Generator().manual_seed(seed)).tolist()
    prompts = [plain for plain, *_ in default_prompts()]
    stops = (0, SCORED, SCORED + CALIBRATED, SCORED + CALIBRATED + FITTED)
    scored, calibrated, fitted = (order[a:b] for a, b in pairwise(stops))
    return {
        "scored": Part(scored, prompts[:CONTEXTS]),
        "calibrated": Part(calibrated, prompts[CONTEXTS : 2 * CONTEXTS]),
        "fitted": Part(fitted, []),
    }
