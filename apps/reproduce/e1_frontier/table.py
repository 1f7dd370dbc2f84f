"""E1's table: its columns, what the papers claim of it, and its plot."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from statistics import fmean
from typing import TYPE_CHECKING

from apps.reproduce.cells import Row, number
from apps.reproduce.drawing import line, panels
from apps.reproduce.result import Claim, Table
from apps.reproduce.shared.zoo import SHORT

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

COLUMNS = {
    "family": f"L1 (tied, as in the paper), TopK, or a control; {SHORT}: trained shortly",
    "condition": "the penalty α or the number k of active features per token",
    "L0": "mean active features per token",
    "FVU": "fraction of variance unexplained on held-out tokens",
    "FVU low": "lower end of its 95% interval over held-out contexts",
    "FVU high": "upper end",
    "ΔCE": "rise of the next-token loss with the site replaced, nats per token",
    "ΔCE low": "lower end of its 95% interval over held-out contexts",
    "ΔCE high": "upper end",
    "CE recovered": "share of the loss that zeroing the site costs, given back",
    "γ": "shrinkage E‖x̂‖² / E[x̂·x]; 1 is none",
    "dead": "share of features never active on the held-out tokens",
}
PAPER = "Cunningham et al. 2023"


def tabulate(rows: Sequence[Row], notes: Sequence[str]) -> Table:
    """Rows as they are, with their claims."""
    return Table(COLUMNS, tuple(rows), claims(rows), (*notes, *over_seeds(rows)), figure)


def claims(rows: Sequence[Row]) -> tuple[Claim, ...]:
    """Of the dictionaries by family; the control without sparsity is left out."""
    l1 = sorted((row for row in rows if row["family"] == "L1"), key=_l0)
    topk = sorted((row for row in rows if row["family"] == "TopK"), key=_l0)
    sparse = [row for row in l1 if row["condition"] != "α=0"]
    return (
        _monotone(sparse, topk),
        _shrinkage(sparse, topk),
        *_against_pca(rows, topk),
        _cost(sparse),
        _better(sparse, topk),
    )


def over_seeds(rows: Sequence[Row]) -> tuple[str, ...]:
    """How far dictionaries that differ in the seed alone are apart, and their intervals."""
    notes = []
    for family in dict.fromkeys(str(row["family"]) for row in rows):
        own = [row for row in rows if row["family"] == family]
        if not family.endswith(SHORT):
            continue
        parts = []
        for column in ("FVU", "L0", "ΔCE"):
            values = [number(row, column) for row in own]
            parts.append(
                f"{column} {fmean(values):.3g}, of seeds {min(values):.3g} to {max(values):.3g}"
            )
        reach = fmean(number(row, "ΔCE high") - number(row, "ΔCE low") for row in own)
        condition = str(own[0]["condition"]).rsplit(" ", 1)[0]
        notes.append(
            f"Over {len(own)} training seeds, {family.removesuffix(SHORT)} {condition}: "
            f"{'; '.join(parts)}; the interval of one's ΔCE over contexts is {reach:.3g} wide."
        )
    return tuple(notes)


def _l0(row: Row) -> float:
    return number(row, "L0")


def _series(rows: Sequence[Row], column: str) -> str:
    return ", ".join(f"{number(row, column):.3g} at L0 {_l0(row):.3g}" for row in rows)


def _monotone(l1: Sequence[Row], topk: Sequence[Row]) -> Claim:
    holds = all(
        number(one, column) > number(two, column)
        for rows in (l1, topk)
        for column in ("FVU", "ΔCE")
        for one, two in pairwise(rows)
    )
    return Claim(
        "reconstruction gets worse without exception as the code gets sparser",
        f"{PAPER}, appendix B",
        f"FVU of L1 {_series(l1, 'FVU')}; of TopK {_series(topk, 'FVU')}",
        holds,
    )


def _shrinkage(l1: Sequence[Row], topk: Sequence[Row]) -> Claim:
    low = [number(row, "γ") for row in l1]
    near = [number(row, "γ") for row in topk]
    return Claim(
        "an L1 penalty shrinks activations (γ < 1), TopK does not (γ = 1)",
        "Rajamanoharan et al. 2024a; Gao et al. 2024",
        f"γ {min(low):.3f} to {max(low):.3f} with L1, {min(near):.3f} to {max(near):.3f} with TopK",
        max(low) < 0.99 and all(abs(value - 1) < 0.02 for value in near),
    )


def _against_pca(rows: Sequence[Row], topk: Sequence[Row]) -> tuple[Claim, Claim]:
    pca = {row["condition"]: row for row in rows if row["family"] == "PCA"}
    pairs = [(row, pca[row["condition"]]) for row in topk]
    explained = [1 - number(other, "FVU") for _, other in pairs]
    ks = [row["condition"] for row in topk]
    shares = ", ".join(f"{x:.0%} at {k}" for k, x in zip(ks, explained, strict=True))
    return (
        Claim(
            "PCA with as many coefficients a token explains no more than a small fraction",
            f"{PAPER}, appendix G",
            f"of the variance, {shares} (called small where it is below a half)",
            max(explained) < 0.5,
        ),
        Claim(
            "a dictionary explains more than PCA with as many coefficients a token",
            f"{PAPER}, appendix G",
            "; ".join(
                f"{row['condition']}: FVU {number(row, 'FVU'):.3f} against "
                f"{number(other, 'FVU'):.3f}"
                for row, other in pairs
            ),
            all(number(row, "FVU high") < number(other, "FVU low") for row, other in pairs),
        ),
    )


def _cost(l1: Sequence[Row]) -> Claim:
    best = min(l1, key=lambda row: number(row, "ΔCE"))
    return Claim(
        "the reconstruction is not free: perplexity rises from 25 to 40, by 0.47 nats "
        "(layer 2 of Pythia-70M)",
        f"{PAPER}, section 6",
        f"by {number(best, 'ΔCE'):.2f} nats at the densest α above 0 (L0 {_l0(best):.0f}), "
        f"{_series(l1, 'ΔCE')}",
        all(number(row, "ΔCE low") > 0 for row in l1),
    )


def _better(l1: Sequence[Row], topk: Sequence[Row]) -> Claim:
    """TopK against L1 of at least as many active features."""
    pairs = [
        (row, other)
        for row in topk
        for other in l1
        if _l0(row) <= _l0(other) and _l0(other) < 2 * _l0(row)
    ]
    return Claim(
        "TopK reconstructs better than L1 at equal sparsity",
        "Gao et al. 2024, figure 5",
        "; ".join(
            f"{row['condition']} FVU {number(row, 'FVU'):.3f} against {number(other, 'FVU'):.3f} "
            f"of L1 with L0 {_l0(other):.0f}"
            for row, other in pairs
        )
        or "no L1 dictionary has an L0 within a factor of two above a TopK one",
        all(number(row, "FVU high") < number(other, "FVU low") for row, other in pairs)
        if pairs
        else None,
    )


def figure(table: Table) -> Figure:
    """FVU and ΔCE against L0, a line per family."""
    chart = panels("Reconstruction against sparsity", ("FVU", "ΔCE, nats per token"))
    families = dict.fromkeys(
        row["family"]
        for row in table.rows
        if row["L0"] is not None and not str(row["family"]).endswith(SHORT)
    )
    for place, family in enumerate(families):
        rows = sorted((row for row in table.rows if row["family"] == family), key=_l0)
        for column, value in enumerate(("FVU", "ΔCE"), 1):
            chart.add_scatter(
                x=[row["L0"] for row in rows],
                y=[row[value] for row in rows],
                text=[row["condition"] for row in rows],
                name=str(family),
                legendgroup=str(family),
                mode="lines+markers",
                line=line(place),
                showlegend=column == 1,
                row=1,
                col=column,
            )
    chart.update_xaxes(type="log", title="active features per token (L0)")
    return chart
