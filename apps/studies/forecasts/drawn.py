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
_SEEN = 5_300
"""Of the first draw: what a map was fitted on, or an interval tried out, at any time."""
FRESH = (
    "The smell of the sea made her think of",
    "As soon as the meeting was over, the director",
    "If the water is too cold, it",
    "Among the papers on his desk there was",
    "The people of the island have never",
    "By the time that the doctor came, the",
    "Her new shoes were",
    "One of the reasons for the change is",
)
"""Texts of the kind that intervals were drawn from, written before any of them was run."""


@dataclass(frozen=True)
class Part:
    """Features, and the texts at whose last token their effect is measured."""

    features: list[int]
    texts: list[str]


def fresh(width: int) -> list[int]:
    """Features that nothing had ever been looked at on, in the order of another seed."""
    order = torch.randperm(width, generator=torch.Generator().manual_seed(0))[_SEEN:]
    again = torch.randperm(len(order), generator=torch.Generator().manual_seed(1))
    return order[again].tolist()


def drawn(width: int, seed: int = 0) -> dict[str, Part]:
    """`scored`, `calibrated`, `fitted`, and `fresh`; `fitted` has the fit's own texts."""
    order = torch.randperm(width, generator=torch.Generator().manual_seed(seed)).tolist()
    prompts = [plain for plain, *_ in default_prompts()]
    scored, order = order[:SCORED], order[SCORED:]
    calibrated, fitted = order[:CALIBRATED], order[CALIBRATED + _UNUSED :][:FITTED]
    return {
        "scored": Part(scored, prompts[:CONTEXTS]),
        "calibrated": Part(calibrated, prompts[CONTEXTS : CONTEXTS + CALIBRATING]),
        "fitted": Part(fitted, []),
        "fresh": Part(fresh(width)[:SCORED], list(FRESH)),
    }
