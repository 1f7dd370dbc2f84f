"""The table, the claims and the plot of E3."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import torch

from apps.reproduce.cells import Row, bounds, row_of
from apps.reproduce.drawing import line, panels
from apps.reproduce.e3_localisation.localised import Checked, Localised
from apps.reproduce.result import Claim, Table
from steer.effects.patching.curve import compare_areas
from steer.maths.statistics import interval

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

UPTO = 64.0
"""Features up to which curves are compared: beyond, everything is patched."""
FLAT = "L1 α=0"
CONTROLS = ("PCA", "neurons", "random directions")
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
_PAPER = "Cunningham et al. 2023, section 4 and figure 3"


def tabulate(
    found: Sequence[Localised], checks: Sequence[Checked], accuracy: float, seed: int
) -> Table:
    """found: trained dictionaries and controls, by name."""
    reach = _reach(found)
    rows: list[Row] = []
    for each in found:
        rows += [*_curve_rows(each, seed), *_area_rows(each, reach, seed)]
    for check in checks:
        rows += _check_rows(check)
    notes = (
        f"The model puts the indirect object above the subject in {accuracy:.1%} of the prompts.",
        "Intervals are bootstraps over prompt pairs; differences of areas are taken pair by pair. "
        "The error is left unpatched, so that all features together do not reach 0.",
    )
    return Table(COLUMNS, tuple(rows), claims(found, checks, seed), notes, figure)


def _reach(found: Sequence[Localised]) -> float:
    """‖Δx‖ that every curve gets to."""
    return min(each.curve.norm.amax(0).min().item() for each in found)


def _named(each: Localised, what: str) -> Row:
    return {"dictionary": each.dictionary, "ranking": each.ranking, "what": what}


def _curve_rows(each: Localised, seed: int) -> list[Row]:
    rows = []
    for count, kl, norm in zip(each.counts, each.kl, each.norm, strict=True):
        cells = {
            **_named(each, "curve"),
            "features": count,
            **bounds("kl", interval(torch.tensor(kl), seed=seed)),
            "norm": sum(norm) / len(norm),
            "differing": each.differing,
            "n": len(kl),
        }
        rows.append(row_of(COLUMNS, cells))
    return rows


def _area_rows(each: Localised, reach: float, seed: int) -> list[Row]:
    rows = []
    for what, axis, end in (("features", "count", UPTO), ("norm", "norm", reach)):
        area = bounds("kl", each.curve.area(axis, end, seed=seed))
        cells = {**_named(each, f"area over {what}"), **area, what: end, "n": len(each.kl[0])}
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


# -- claims ----------------------------------------------------------------------------------------


def claims(found: Sequence[Localised], checks: Sequence[Checked], seed: int) -> tuple[Claim, ...]:
    """Of each ranking, with each control, along either axis; of all curves; of the search."""
    reach = _reach(found)
    closer = []
    for ranking in dict.fromkeys(each.ranking for each in found):
        by_name = {each.dictionary: each for each in found if each.ranking == ranking}
        for axis, called, end in (("count", "number of features", UPTO), ("norm", "‖Δx‖", reach)):
            for other in (*CONTROLS, FLAT):
                if other in by_name:
                    what = f"{called}, {ranking} ranking"
                    closer.append(_closer(by_name, other, axis, what, end, seed))
    floor = _floor_claim({each.dictionary: each for each in found}, seed)
    searched = [_acdc_claim(checks)] if checks else []
    return (*closer, floor, _ends_claim(found), *searched)


def _closer(
    by_name: Mapping[str, Localised], other: str, axis: str, what: str, end: float, seed: int
) -> Claim:
    """Whether every sparse dictionary's curve is below the other's."""
    sparse = [name for name in by_name if name not in CONTROLS and name != FLAT]
    theirs = by_name[other].curve
    gaps = {
        name: compare_areas(by_name[name].curve, theirs, axis, end, seed=seed) for name in sparse
    }
    below = sum(gap.high < 0 for gap in gaps.values())
    listed = "; ".join(f"{name} {gap}" for name, gap in gaps.items())
    return Claim(
        f"sparse dictionaries come closer to the target than {other} at the same {what}",
        _PAPER,
        f"{below} of {len(gaps)} do; area minus that of {other}: {listed}",
        below == len(gaps),
    )


def _floor_claim(by_name: Mapping[str, Localised], seed: int) -> Claim:
    text, source = "the floor, all features patched, rises with α", _PAPER
    penalised = [each for name, each in by_name.items() if name.startswith("L1")]
    if len(penalised) < 2:
        return Claim(text, source, "fewer than two α", None)
    floors = [interval(each.floor, seed=seed) for each in penalised]
    rise = interval(penalised[-1].floor - penalised[0].floor, seed=seed)
    steps = [b.mean - a.mean for a, b in pairwise(floors)]
    listed = "; ".join(
        f"{each.dictionary} {floor}" for each, floor in zip(penalised, floors, strict=True)
    )
    return Claim(
        text,
        source,
        f"{listed}; last − first {rise}",
        rise.low > 0 and all(step > 0 for step in steps),
    )


def _ends_claim(found: Sequence[Localised]) -> Claim:
    gap = max(each.endpoint_gap for each in found)
    return Claim(
        "nothing patched is the base run, everything with the error is the target run",
        "identity",
        f"largest gap {gap:.1e} nats",
        gap < 1e-3,
    )


def _acdc_claim(checks: Sequence[Checked]) -> Claim:
    parts, close = [], []
    for check in checks:
        for tau, count, kl, ranked, shared in zip(
            check.taus, check.counts, check.kl, check.ranked_kl, check.shared, strict=True
        ):
            parts.append(
                f"{check.dictionary} τ={tau:g}: {count} features, ACDC {kl:.3g}, ranking "
                f"{ranked:.3g} nats, {shared:.0%} of them shared"
            )
            close.append(ranked <= kl + max(0.25 * kl, 0.05))
    return Claim(
        "the ranking by gradients does about as well as exact ACDC (within 25% or 0.05 nats)",
        "control, no source",
        "; ".join(parts),
        all(close),
    )


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
