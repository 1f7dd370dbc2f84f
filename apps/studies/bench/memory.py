"""A sweep's memory, beside what it was allowed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from apps.studies.bench.prompt import PROMPT
from apps.studies.bench.timed import Figure, figure

if TYPE_CHECKING:
    from dictionaries.dictionary import Dictionary
    from steer.model import Model

_MIB = 2**20


def peak_over_budget(model: Model, dictionary: Dictionary) -> Figure:
    """Largest number of bytes in tensors during a sweep, over its budget."""
    from steer.effects.sweep.ablation_sweep import ablation_sweep
    from steer.maths.memory import measured

    runs = []
    for budget in (64 * _MIB, 128 * _MIB, 256 * _MIB):
        with measured(model.device) as peak:
            ablation_sweep(model, PROMPT, dictionary, budget=budget, most_tokens=2**20)
        runs.append(peak.bytes / budget)
    return figure(tuple(runs), 1.0)
