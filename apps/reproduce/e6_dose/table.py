"""E6's table: its columns, its rows and its plot; what is claimed is in `claims`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from apps.reproduce.cells import Value, bounds, row_of, with_bounds
from apps.reproduce.drawing import line, panels
from apps.reproduce.e6_dose.claims import claims
from apps.reproduce.e6_dose.dosed import Dosed, balanced, merge
from apps.reproduce.result import Table
from steer.maths.statistics import interval

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

FIGURES = {
    "relative_dose": "‖Δ‖/‖x‖ at the tokens of neutral passages",
    "delta_ce": "rise of the passages' own loss, nats per token",
    "kl": "KL(clean‖edited) at their last token, nats",
    "effect": "rise of the log-probability of the ten promoted tokens at their last token, nats",
    "concept": "share of words of the concept in generated text",
    "concept_second_half": "the same in its second half",
    "loss": "loss of the generated text under the untouched model, nats per token",
    "balance": "harmonic mean of concept and exp(loss of unsteered text − loss), at most 1",
}
COLUMNS = {
    "group": "listed: the README's features that steer; random: seeded random ones",
    "dose": "value that the feature is clamped to; none: unsteered; let go: 1x max during the "
    "first half only",
    **with_bounds(FIGURES),
    "n": "features",
}
NOTES = (
    "Intervals are bootstraps over features; each feature's figure is a mean over the passages or "
    "prompts. The clamp acts on every token but the first.",
    "Listed features were chosen because they steer, so their row says what a good feature does "
    "and not what a feature does; the random ones say that.",
    "A concept is a rough pattern of words, so the unsteered row is its base rate. The best dose "
    "is chosen on the texts that it is reported on.",
)


def tabulate(dosed: Sequence[Dosed], seed: int) -> Table:
    """One row a group and dose."""
    merged = balanced(merge(dosed))
    rows = []
    for group, dose in dict.fromkeys((row.group, row.dose) for row in merged):
        several = [e.figures for e in merged if (e.group, e.dose) == (group, dose)]
        cells: dict[str, Value] = {"group": group, "dose": dose, "n": len(several)}
        for name in FIGURES:
            known = [figures[name] for figures in several if name in figures]
            cells |= bounds(name, interval(torch.tensor(known), seed=seed) if known else None)
        rows.append(row_of(COLUMNS, cells))
    return Table(COLUMNS, tuple(rows), claims(merged, seed), NOTES, figure)


def figure(table: Table) -> Figure:
    """What each dose costs on neutral text, and what it buys in written text."""
    chart = panels("Dose response", ("cost on neutral text", "concept against fluency"))
    for number, group in enumerate(dict.fromkeys(str(row["group"]) for row in table.rows)):
        own = [row for row in table.rows if row["group"] == group]
        costs = [row for row in own if row["delta_ce"] is not None]
        texts = [row for row in own if row["loss"] is not None and row["dose"] != "let go"]
        chart.add_scatter(
            x=[float(str(row["dose"]).split("x")[0]) for row in costs],
            y=[row["delta_ce"] for row in costs],
            name=f"{group} features",
            legendgroup=group,
            mode="lines+markers",
            line=line(number),
            row=1,
            col=1,
        )
        chart.add_scatter(
            x=[row["loss"] for row in texts],
            y=[row["concept"] for row in texts],
            text=[str(row["dose"]) for row in texts],
            mode="lines+markers+text",
            textposition="top center",
            line=line(number),
            legendgroup=group,
            showlegend=False,
            row=1,
            col=2,
        )
    chart.update_xaxes(title_text="multiple of the maximum", row=1, col=1)
    chart.update_yaxes(title_text="ΔCE, nats per token", row=1, col=1)
    chart.update_xaxes(title_text="loss of the text, nats per token", row=1, col=2)
    chart.update_yaxes(title_text="share of concept words", row=1, col=2)
    return chart
