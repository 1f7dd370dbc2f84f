"""E9's table: its columns, its rows and its plot; what is claimed is in `claims`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from apps.reproduce.cells import Row, Value, bounds, row_of, with_bounds
from apps.reproduce.drawing import add_bars, panels
from apps.reproduce.e9_side_effects.claims import READOUTS, claims
from apps.reproduce.e9_side_effects.single_latents import (
    LEAST_POSITIONS,
    Ablated,
    by_position,
    often,
    variance_shares,
)
from apps.reproduce.e9_side_effects.spillover import CONTROLS, FIGURES, Spilled
from apps.reproduce.result import Table
from steer.maths.statistics import Interval, interval

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

ABLATE, CLAMP = "ablate one at one token", "clamp to its maximum"
COLUMNS = {
    "edit": f"{ABLATE}: each active feature alone; {CLAMP}: of the README's features, at every "
    "token but the first",
    "what": "the dictionary that the feature is of; or the edit and its controls",
    **with_bounds(
        {
            "kl": "KL(clean‖edited), nats",
            "kl_per_norm": "the same per unit of ‖Δx‖",
            "norm": "‖Δx‖ at the token",
        }
    ),
    **with_bounds(
        {
            f"{part}{readout}": f"share of the variance of log {name} that the {part} explains"
            for readout, name in (("", "KL"), ("_per_norm", "KL per ‖Δx‖"))
            for part in ("token", "feature")
        },
        mean="",
    ),
    **with_bounds(
        {
            "delta_ce": "rise of the loss at tokens the feature does not promote, nats",
            "top1": "rise of the share of those tokens guessed right",
            "ioi": "share of indirect objects put above the subject",
        }
    ),
    "density": "share of tokens at which the clamped features are active, or those in their place, "
    "mean",
    "density_low": "the lowest of them",
    "density_high": "the highest",
    "n": "tokens, or features clamped",
    "edits": "edits measured",
}
NOTES = (
    f"Shares of variance are of features ablated at {LEAST_POSITIONS} tokens or more: two crossed "
    "random effects by the method of moments, intervals by a jackknife over tokens. Other "
    "intervals are bootstraps over tokens (ablating) and over features (clamping).",
    "The baselines keep as many features a token as the trained dictionary has on average, so one "
    "feature of theirs is no smaller a part of the code. A trained encoder with other decoder rows "
    "gives edits of exactly the trained ‖Δx‖.",
)


def tabulate(
    ablated: Sequence[Ablated], spilled: Sequence[Spilled], names: Sequence[str], seed: int
) -> Table:
    """names: of the dictionaries, the trained one first."""
    rows = [_ablation_row(ablated, name, seed) for name in names]
    rows += [_clamp_row(spilled, control, seed) for control in CONTROLS]
    return Table(COLUMNS, tuple(rows), claims(ablated, spilled, names, seed), NOTES, figure)


def _ablation_row(ablated: Sequence[Ablated], name: str, seed: int) -> Row:
    own = [row for row in ablated if row.dictionary == name]
    cells: dict[str, Value] = {"edit": ABLATE, "what": name}
    for column, measure in (*READOUTS.items(), ("norm", lambda row: row.norm)):
        means = list(by_position(ablated, measure, name).values())
        cells |= bounds(column, interval(torch.tensor(means), seed=seed))
    cells |= _variance_cells(often(own))
    cells |= {"n": len({row.position for row in own}), "edits": len(own)}
    return row_of(COLUMNS, cells)


def _variance_cells(repeated: Sequence[Ablated]) -> Row:
    """None where there are not two features to compare."""
    cells: dict[str, Value] = {}
    if len({row.feature for row in repeated}) < 2:
        return cells
    for readout, measure in READOUTS.items():
        shares = variance_shares(repeated, measure)
        for part, share in zip(("token", "feature"), shares, strict=True):
            column = f"{part}{readout.removeprefix('kl')}"
            cells |= {column: share.value, f"{column}_low": share.low, f"{column}_high": share.high}
    return cells


def _clamp_row(spilled: Sequence[Spilled], control: str, seed: int) -> Row:
    own = [row for row in spilled if row.control == control]
    cells: dict[str, Value] = {"edit": CLAMP, "what": control, "n": len(own), "edits": len(own)}
    for name in FIGURES:
        cells |= bounds(name, _over(own, name, seed))
    if densities := [row.density for row in own if row.density is not None]:
        cells |= {"density": sum(densities) / len(densities)}
        cells |= {"density_low": min(densities), "density_high": max(densities)}
    return row_of(COLUMNS, cells)


def _over(several: Sequence[Spilled], name: str, seed: int) -> Interval:
    return interval(torch.tensor([getattr(row, name) for row in several]), seed=seed)


def figure(table: Table) -> Figure:
    """Both readouts of ablating one feature at one token, by what the feature is of."""
    headings = ("KL, nats", "KL per ‖Δx‖, nats")
    chart = panels("One feature ablated at one token", headings, shared_yaxes=True)
    rows = [row for row in table.rows if row["edit"] == ABLATE]
    for column, name in enumerate(READOUTS, start=1):
        add_bars(
            *(chart, rows, "what", name, (f"{name}_low", f"{name}_high")),
            number=column - 1,
            row=1,
            col=column,
        )
    return chart.update_layout(showlegend=False)
