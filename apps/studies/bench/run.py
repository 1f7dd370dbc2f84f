"""All figures of `steer bench`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from apps.studies.bench.generating import both_texts, clamped, watched
from apps.studies.bench.gradients import in_passes
from apps.studies.bench.memory import peak_over_budget
from apps.studies.bench.operations import Operations
from apps.studies.bench.sweeping import over_batched, over_hooks, over_traces
from apps.studies.bench.timed import Figure
from apps.studies.machine import machine

if TYPE_CHECKING:
    from steer.model import Model
    from steer.progress import Progress

DICTIONARIES = ("smollm2-135m/resid_post.20", "smollm2-135m/resid_post.10")


def bench(
    model: Model,
    *,
    pairs: int = 7,
    new_tokens: int = 24,
    progress: Progress | None = None,
) -> dict[str, Figure]:
    """All figures."""
    late, early = (model.dictionary(name).to(model.device) for name in DICTIONARIES)
    late_cost, early_cost = Operations.of(model, late), Operations.of(model, early)
    tasks: dict[str, Callable[[], Figure]] = {
        "clamp_over_plain": lambda: clamped(model, late, 1, False, pairs, new_tokens),
        "ten_clamps_over_plain": lambda: clamped(model, late, 10, False, pairs, new_tokens),
        "condition_over_plain": lambda: clamped(model, late, 1, True, pairs, new_tokens),
        "panel_over_plain": lambda: watched(model, late, pairs, new_tokens),
        "pair_over_plain": lambda: both_texts(model, late, pairs, new_tokens),
        "sweep_speedup_block20": lambda: over_traces(model, late, late_cost, pairs),
        "sweep_speedup_block10": lambda: over_traces(model, early, early_cost, pairs),
        "sweep_over_hooks_block20": lambda: over_hooks(model, late, late_cost, pairs),
        "sweep_over_batched_block20": lambda: over_batched(model, late, late_cost, pairs),
        "ig10_forward_backwards": lambda: in_passes(model, late, late_cost, pairs),
        "sweep_peak_over_budget": lambda: peak_over_budget(model, late),
    }
    figures = {}
    for number, (name, task) in enumerate(tasks.items()):
        if progress:
            progress("measuring", number, len(tasks))
        figures[name] = task()
    return figures


def to_dict(figures: dict[str, Figure]) -> dict[str, Any]:
    """`{machine: …, figures: {name: {ratio, bound, runs}}}`."""
    by_name = {name: asdict(figure) for name, figure in figures.items()}
    return {"machine": machine(), "figures": by_name}
