"""E7's table: its rows, its claims and its plot."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from apps.reproduce.cells import Row, Value, bounds, row_of
from apps.reproduce.drawing import add_bars, panels
from apps.reproduce.e7_steering.bench import Steered
from apps.reproduce.e7_steering.filter import THRESHOLDS, Filter
from apps.reproduce.result import Claim, Table
from steer.evals.steering.feature_scores import random_filter
from steer.evals.steering.score import RATINGS, harmonic_mean
from steer.maths.statistics import interval

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

COLUMNS = {
    "part": "methods: a concept steered by a method; filter: random features, by output score",
    "concept": "what is steered towards; `all` averages the concepts",
    "method": "how",
    "score": "harmonic mean of the three ratings, 0 to 2, averaged over answers",
    "low": "95% bootstrap interval over instructions; for `all`, over concepts; for a filter, over "
    "features (for random ones, the range of 95% of them)",
    "high": "the same",
    "concept rating": "0 to 2",
    "instruction rating": "0 to 2",
    "fluency rating": "0 to 2",
    "delta CE": "cost of the edit on neutral text, nats per token",
    "dose": "length along the direction, or the value that is clamped to, in units of the residual",
    "density": "share of tokens at which the feature is active; of unrelated ones, on average",
    "n": "instructions, concepts or features",
}
_AXBENCH, _ARAD = "Wu et al. 2025, AxBench, table 2", "Arad et al. 2025"
CLAMP, ADD, PROJECTION = "feature: code clamp", "feature: add", "feature: projection clamp"
MEANS, RANDOM, UNRELATED = "difference of means", "random direction", "unrelated feature"
PROMPT, UNSTEERED = "prompt", "unsteered"
_NOISE = 0.1
"""Judges differ by about this much on a scale of 0 to 2: smaller differences are not claimed."""


def tabulate(steered: Sequence[Steered], scored: Filter, notes: Sequence[str]) -> Table:
    """The methods' rows and the filters', and the claims of both."""
    rows = (*method_rows(steered), *filter_rows(scored))
    return Table(COLUMNS, rows, claims(steered, scored), tuple(notes), figure)


def method_rows(steered: Sequence[Steered]) -> list[Row]:
    """A row a concept and method (several directions of one kind are averaged), then averages."""
    rows: list[Row] = []
    for concept in dict.fromkeys(row.concept for row in steered):
        for method in dict.fromkeys(row.method for row in steered):
            if group := _group(steered, concept, method):
                rows.append(_row(concept, method, group))
    for method in dict.fromkeys(row.method for row in steered):
        by_concept = _by_concept(steered, method)
        average = _row("all", method, [row for row in steered if row.method == method])
        score = bounds("score", interval(by_concept), "")
        rows.append({**average, **score, "n": len(by_concept), "dose": None})
    return rows


def _group(steered: Sequence[Steered], concept: str, method: str) -> list[Steered]:
    return [row for row in steered if (row.concept, row.method) == (concept, method)]


def _row(concept: str, method: str, group: Sequence[Steered]) -> Row:
    ratings = torch.stack([row.ratings for row in group])  # [methods, n, seeds, 3]
    score = interval(harmonic_mean(ratings).mean((0, 2)))
    means = ratings.mean((0, 1, 2)).tolist()
    doses = [row.matched for row in group if row.matched is not None]
    cells: dict[str, Value] = {
        "part": "methods",
        "concept": concept,
        "method": method,
        **bounds("score", score, ""),
        **{f"{name} rating": value for name, value in zip(RATINGS, means, strict=True)},
        "delta CE": _mean([dose.delta_ce for dose in doses]),
        "dose": _mean([dose.dose for dose in doses]),
        "density": _mean([row.density for row in group if row.density is not None]),
        "n": score.n,
    }
    return row_of(COLUMNS, cells)


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _by_concept(steered: Sequence[Steered], method: str) -> Tensor:
    """Mean score of a method on each concept that it was tried on, [concepts]."""
    names = dict.fromkeys(row.concept for row in steered)
    groups = [group for name in names if (group := _group(steered, name, method))]
    return torch.stack(
        [torch.stack([harmonic_mean(e.ratings).mean() for e in g]).mean() for g in groups]
    )


def filter_rows(scored: Filter) -> list[Row]:
    """All features, those above each threshold, and random choices of as many."""
    every = torch.ones(len(scored.features), dtype=torch.bool)
    rows: list[Row] = [_filtered("unfiltered", scored, every)]
    for threshold in THRESHOLDS:
        passing = scored.kept(threshold)
        if not passing.any():
            continue
        rows.append(_filtered(f"output score ≥ {threshold:g}", scored, passing))
        drawn = random_filter(scored.overall, int(passing.sum()), seed=scored.seed)
        low, high = drawn.quantile(0.025).item(), drawn.quantile(0.975).item()
        row = _filtered(f"random filter of {int(passing.sum())}", scored, passing)
        blank = {f"{name} rating": None for name in RATINGS}
        rows.append({**row, **blank, "score": drawn.mean().item(), "low": low, "high": high})
    return rows


def _filtered(name: str, scored: Filter, passing: Tensor) -> Row:
    score = interval(scored.overall[passing])
    cells: dict[str, Value] = {
        "part": "filter",
        "concept": "what each fires on",
        "method": name,
        **bounds("score", score, ""),
        "concept rating": scored.concept[passing].mean().item(),
        "fluency rating": scored.fluency[passing].mean().item(),
        "n": score.n,
    }
    return row_of(COLUMNS, cells)


def claims(steered: Sequence[Steered], scored: Filter) -> tuple[Claim, ...]:
    """What the literature says of each comparison, and what was found."""
    compared = [
        _more("A feature steers better than a random direction", CLAMP, RANDOM, "control", steered),
        _more(
            "A feature steers better than an unrelated one", CLAMP, UNRELATED, "control", steered
        ),
        _more("Prompting beats a difference of means", PROMPT, MEANS, _AXBENCH, steered),
        _more("A difference of means beats a feature", MEANS, ADD, _AXBENCH, steered),
        _more("Prompting beats a feature", PROMPT, ADD, _AXBENCH, steered),
    ]
    return (
        *(claim for claim in compared if claim),
        *(_filter_claim(scored, t) for t in THRESHOLDS),
    )


def _more(text: str, a: str, b: str, source: str, steered: Sequence[Steered]) -> Claim | None:
    """Whether a's score is above b's: paired over concepts, and by more than judges' noise."""
    names = [
        name
        for name in dict.fromkeys(row.concept for row in steered)
        if _group(steered, name, a) and _group(steered, name, b)
    ]
    if not names:
        return None
    both = [row for row in steered if row.concept in names]
    left, right = _by_concept(both, a), _by_concept(both, b)
    difference = interval(left - right)
    holds = None if difference.n < 2 else difference.low > 0 and difference.mean > _NOISE
    measured = (
        f"{left.mean():.3f} against {right.mean():.3f}; difference {difference} over "
        f"{difference.n} concepts"
    )
    return Claim(text, source, measured, holds)


def _filter_claim(scored: Filter, threshold: float) -> Claim:
    text = (
        f"Features with an output score of {threshold:g} or more steer better than unfiltered "
        "ones (1.2 to 2 times), and a random choice of as many does not"
    )
    passing = scored.kept(threshold)
    n = int(passing.sum())
    if n < 3 or n == len(passing):
        return Claim(text, _ARAD, f"{n} of {len(passing)} features pass: too few to tell", None)
    gain = scored.overall[passing].mean().item()
    drawn = random_filter(scored.overall, n, seed=scored.seed)
    p = (1 + int((drawn >= gain).sum())) / (1 + len(drawn))
    everything = scored.overall.mean().item()
    ratio = gain / everything if everything else float("nan")
    measured = (
        f"{gain:.3f} for {n} of {len(passing)} features against {everything:.3f} for all "
        f"({ratio:.2f}×); {p:.2g} of random filters do as well"
    )
    return Claim(text, _ARAD, measured, p < 0.05 and ratio > 1.2)


def figure(table: Table) -> Figure:
    """Mean score of each method with its interval, and of each filter."""
    headings = ("methods at equal ΔCE", "random features, by output score")
    chart = panels("Steering", headings, horizontal_spacing=0.22)
    averages = [row for row in table.rows if row["part"] == "methods" and row["concept"] == "all"]
    filters = [row for row in table.rows if row["part"] == "filter"]
    for column, rows in ((1, averages), (2, filters)):
        add_bars(
            *(chart, rows, "method", "score", ("low", "high")),
            number=column - 1,
            showlegend=False,
            row=1,
            col=column,
        )
    return chart.update_xaxes(title="steering score (0 to 2)", rangemode="tozero")
