"""The table, the claims and the plot of E5."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from apps.reproduce.cells import Value, bounds, with_bounds
from apps.reproduce.drawing import add_bars, panels
from apps.reproduce.result import Claim, Table
from steer.maths.statistics import Interval, interval

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

ESTIMATES = ("atp", "ig", "direct", "direct_everywhere", "activation", "shuffled")
Part = tuple[str, str]
"""Dictionary and kind of prompt."""
MEASURES = ("pearson", "spearman", "overlap")
COLUMNS = {
    "dictionary": "whose features are ablated",
    "prompts": "ioi: indirect objects, logit difference; text: log-probability of the next token",
    "estimate": "what is compared with exact ablation",
    **with_bounds(
        {
            "pearson": "Pearson correlation within a prompt",
            "spearman": "rank correlation within a prompt",
            "overlap": "share of the ten largest effects among the ten largest estimates",
        }
    ),
    "n": "prompts",
    "features": "features ablated in a prompt, mean",
}


@dataclass(frozen=True)
class Found:
    """Agreement of one estimate with exact ablation on one prompt."""

    dictionary: str
    kind: str
    prompt: int
    estimate: str
    features: int
    pearson: float
    spearman: float
    overlap: float


def tabulate(agreements: Sequence[Found], seed: int) -> Table:
    """Means over prompts with intervals, and the claims."""
    rows = []
    for (dictionary, kind), own in _by_part(agreements).items():
        for name in ESTIMATES:
            group = [row for row in own if row.estimate == name]
            row: dict[str, Value] = {"dictionary": dictionary, "prompts": kind, "estimate": name}
            for measure in MEASURES:
                row |= bounds(measure, _over(group, measure, seed))
            row |= {"n": len(group), "features": sum(f.features for f in group) / len(group)}
            rows.append(row)
    return Table(COLUMNS, tuple(rows), claims(agreements, seed), NOTES, figure)


NOTES = (
    "Correlations are within a prompt, over the features that are active after its first token "
    "(silent features have no effect and would make the agreement look better), then averaged "
    "over prompts; intervals are bootstraps over prompts.",
    "`activation` is compared with the size of the effect, the others with the effect.",
)


def _over(group: Sequence[Found], measure: str, seed: int) -> Interval:
    return interval(torch.tensor([getattr(row, measure) for row in group]), seed=seed)


def claims(agreements: Sequence[Found], seed: int) -> tuple[Claim, ...]:
    """The reference figures, of each dictionary and kind of prompt."""
    atp, overlap = (_parts(agreements, "atp", measure, seed) for measure in ("pearson", "overlap"))
    plain = _gains(agreements, "atp", "activation", seed)
    path, direct = _gains(agreements, "ig", "atp", seed), _gains(agreements, "atp", "direct", seed)
    return (
        Claim(
            "attribution predicts ablation, with a correlation of about 0.8",
            "Templeton et al. 2024, appendix on feature attributions",
            f"Pearson {_listed(atp)}",
            all(gain.mean >= 0.7 for gain in atp.values()),
        ),
        Claim(
            "activation does not (0.12): attribution is better",
            "Templeton et al. 2024, same place",
            f"Pearson atp − activation, paired: {_listed(plain)}",
            all(gain.low > 0 for gain in plain.values()),
        ),
        Claim(
            "most of the ten largest ablation effects are among the ten largest attributions "
            "(8 of 10 in their example)",
            "Templeton et al. 2024, same place",
            f"overlap {_listed(overlap)}",
            all(gain.mean >= 0.7 for gain in overlap.values()),
        ),
        Claim(
            "integrated gradients are closer to exact effects than one gradient",
            "Marks et al. 2025, section 3",
            f"Pearson ig − atp, paired: {_listed(path)}. Single ablations end near the clean run, "
            "where one gradient is the better slope; the path here ends with all features at 0",
            all(gain.low > 0 for gain in path.values()),
        ),
        Claim(
            "attribution through all later blocks is better than the direct path alone",
            "control, no source",
            f"Pearson atp − direct, paired: {_listed(direct)}",
            all(gain.low > 0 for gain in direct.values()),
        ),
    )


def _parts(
    agreements: Sequence[Found], estimate: str, measure: str, seed: int
) -> dict[Part, Interval]:
    """The measure over the prompts of each part."""
    return {
        part: _over([row for row in own if row.estimate == estimate], measure, seed)
        for part, own in _by_part(agreements).items()
    }


def _gains(agreements: Sequence[Found], better: str, worse: str, seed: int) -> dict[Part, Interval]:
    """How much the Pearson correlation gains, prompt by prompt, in each part."""
    gains = {}
    for part, own in _by_part(agreements).items():
        above, below = (
            torch.tensor([row.pearson for row in own if row.estimate == estimate])
            for estimate in (better, worse)
        )
        gains[part] = interval(above - below, seed=seed)
    return gains


def _by_part(agreements: Sequence[Found]) -> dict[Part, list[Found]]:
    parts: dict[Part, list[Found]] = {}
    for row in agreements:
        parts.setdefault((row.dictionary, row.kind), []).append(row)
    return parts


def _listed(intervals: Mapping[Part, Interval]) -> str:
    return "; ".join(
        f"{dictionary.rsplit('/')[-1]} {kind} {value}"
        for (dictionary, kind), value in intervals.items()
    )


def figure(table: Table) -> Figure:
    """Correlation with exact ablation, a group of bars per site and kind of prompt."""
    chart = panels("Attribution against exact ablation", height=560)
    for number, name in enumerate(ESTIMATES):
        rows = [
            {**row, "where": f"{str(row['dictionary']).rsplit('/')[-1]}, {row['prompts']}"}
            for row in table.rows
            if row["estimate"] == name
        ]
        bounds = ("pearson_low", "pearson_high")
        add_bars(chart, rows, "where", "pearson", bounds, number=number, name=name)
    chart.update_xaxes(title="Pearson correlation with the exact effect")
    return chart.update_layout(barmode="group")
