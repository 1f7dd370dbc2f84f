"""E3's table: its columns, its rows and its plot; what is claimed is in `claims`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from apps.reproduce.cells import Row, bounds, row_of
from apps.reproduce.drawing import line, panels
from apps.reproduce.e3_localisation.claims import CONTROLS, UPTO, claims, reach_of
from apps.reproduce.e3_localisation.localised import Checked, Localised
from apps.reproduce.result import Table
from steer.maths.statistics import interval

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

COLUMNS = {
    "dictionary": "whose features are patched",
    "ranking": "common: one for all pairs; own: each pair's own",
    "what": "curve: at a number of features; area: mean height of the curve; ACDC: an exact search "
    "on a few pairs, and the ranking's set of its size",
    "features": "patched, best first; up to where, for an area",
    "kl": "KL(edited‖target) at the last token in nats, mean over pairs",
    "kl_low": "95% low",
    "kl_high": "95% high",
    "norm": "‖Δx‖, mean over tokens and pairs; up to where, for an area",
    "differing": "features that differ between the two prompts, mean",
    "n": "pairs",
}


def tabulate(
    localised: Sequence[Localised], checks: Sequence[Checked], accuracy: float, seed: int
) -> Table:
    """localised: of trained dictionaries and of controls."""
    reach = reach_of(localised)
    rows: list[Row] = []
    for part in localised:
        rows += [*_curve_rows(part, seed), *_area_rows(part, reach, seed)]
    for check in checks:
        rows += _check_rows(check)
    notes = (
        f"The model puts the indirect object above the subject in {accuracy:.1%} of the prompts.",
        "Intervals are bootstraps over prompt pairs; differences of areas are taken pair by pair. "
        "The error is left unpatched, so that all features together do not reach 0.",
    )
    return Table(COLUMNS, tuple(rows), claims(localised, checks, seed), notes, figure)


def _named(localised: Localised, what: str) -> Row:
    return {"dictionary": localised.dictionary, "ranking": localised.ranking, "what": what}


def _curve_rows(localised: Localised, seed: int) -> list[Row]:
    rows = []
    for count, kl, norm in zip(localised.counts, localised.kl, localised.norm, strict=True):
        cells = {
            **_named(localised, "curve"),
            "features": count,
            **bounds("kl", interval(torch.tensor(kl), seed=seed)),
            "norm": sum(norm) / len(norm),
            "differing": localised.differing,
            "n": len(kl),
        }
        rows.append(row_of(COLUMNS, cells))
    return rows


def _area_rows(localised: Localised, reach: float, seed: int) -> list[Row]:
    rows = []
    for what, axis, end in (("features", "count", UPTO), ("norm", "norm", reach)):
        area = bounds("kl", localised.curve.area(axis, end, seed=seed))
        cells = {
            **_named(localised, f"area over {what}"),
            **area,
            what: end,
            "n": len(localised.kl[0]),
        }
        rows.append(row_of(COLUMNS, cells))
    return rows


def _check_rows(check: Checked) -> list[Row]:
    rows = []
    for tau, count, kl, ranked in zip(
        check.taus, check.counts, check.kl, check.ranked_kl, strict=True
    ):
        for what, value in ((f"ACDC τ={tau:g}", kl), (f"ranking, as τ={tau:g}", ranked)):
            named = {"dictionary": check.dictionary, "ranking": "common", "what": what}
            rows.append(row_of(COLUMNS, {**named, "features": count, "kl": value}))
    return rows


def figure(table: Table) -> Figure:
    """KL against how much is patched, a line per dictionary; controls are thinner."""
    headings = ("common ranking", "each pair's own", "each pair's own")
    chart = panels("Localising the indirect object", headings, height=520, shared_yaxes=True)
    rows = [row for row in table.rows if row["what"] == "curve"]
    arranged = (("common", "features"), ("own", "features"), ("own", "norm"))
    for number, name in enumerate(dict.fromkeys(str(row["dictionary"]) for row in rows)):
        for column, (ranking, axis) in enumerate(arranged, start=1):
            own = [r for r in rows if r["dictionary"] == name and r["ranking"] == ranking]
            chart.add_scatter(
                x=[row[axis] for row in own],
                y=[row["kl"] for row in own],
                name=name,
                legendgroup=name,
                showlegend=column == 1,
                mode="lines+markers",
                line={**line(number), "width": 1 if name in CONTROLS else 2},
                marker={"symbol": number, "size": 5},
                row=1,
                col=column,
            )
    for column in (1, 2):
        chart.update_xaxes(title_text="features patched", type="log", row=1, col=column)
    chart.update_xaxes(title_text="‖Δx‖, mean over tokens", row=1, col=3)
    chart.update_yaxes(title_text="KL(edited‖target), nats", row=1, col=1)
    return chart
