"""Which features and texts forecasts are fitted, calibrated and scored on; none is in two parts."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from steer.verdicts.texts import default_prompts

SCORED, CALIBRATED, FITTED = 300, 40, 2400
SHARES = (0.15, 0.3, 0.6)
"""Lengths of the pushes, of the stream's median norm."""
CONTEXTS, CALIBRATING = 8, 32
"""Texts that are scored on, and that intervals are drawn from: more of them, since features share
their texts, and eight say little of others."""
_UNUSED = 160


@dataclass(frozen=True)
class Part:
    """Features, and the texts at whose last token their effect is measured."""

    features: list[int]
    texts: list[str]


def drawn(width: int, seed: int = 0) -> dict[str, Part]:
    """`scored`, `calibrated` and `fitted`; the last has the fit's own texts."""
    order = torch.randperm(width, generator=torch.Generator().manual_seed(seed)).tolist()
    prompts = [plain for plain, *_ in default_prompts()]
    scored, order = order[:SCORED], order[SCORED:]
    calibrated, fitted = order[:CALIBRATED], order[CALIBRATED + _UNUSED :][:FITTED]
    return {
        "scored": Part(scored, prompts[:CONTEXTS]),
        "calibrated": Part(calibrated, prompts[CONTEXTS : CONTEXTS + CALIBRATING]),
        "fitted": Part(fitted, []),
    }
