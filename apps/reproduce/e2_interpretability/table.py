"""E2's table: its columns, what the papers claim of it, and its plot."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from apps.reproduce.cells import Row, number
from apps.reproduce.drawing import add_bars, panels
from apps.reproduce.e2_interpretability import judging
from apps.reproduce.result import Claim, Table

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

COLUMNS = {
    "directions": "what is described: features of a dictionary, or a control",
    "features": "how many are active in both parts of the text",
    "good": "share with a rule of F1 above 0.8 on held-out text",
    "good low": "lower end of its 95% interval over features",
    "good high": "upper end",
    "good, strongest": "the same where only each feature's strongest tenth counts as active",
    "F1": "median F1 of the best rule",
    "precision": "its median precision",
    "recall": "its median recall",
    "entropy": "median entropy of the token at active positions, nats",
    "density": "median share of tokens where a feature is active",
}
GOOD = 0.8
DENSE = 0.5
"""A rule counts as good only where "always" has an F1 below this, so not for dense features."""
CONTROLS = ("neurons", "PCA", "ICA", "random directions")


def tabulate(rows: Sequence[Row], notes: Sequence[str]) -> Table:
    """Rows as they are, with their claims; the judge's columns if it was asked."""
    judged = judging.COLUMNS if "detected" in rows[0] else {}
    return Table({**COLUMNS, **judged}, tuple(rows), claims(rows), tuple(notes), figure)


def claims(rows: Sequence[Row]) -> tuple[Claim, ...]:
    """rows: the trained dictionary first, then the others, random weights last."""
    best, random = rows[0], rows[-1]
    controls = [row for row in rows if row["directions"] in CONTROLS]
    judged = (judging.claim(rows, controls),) if "detected" in best else ()
    return (
        *judged,
        Claim(
            "dictionary features are more interpretable than neurons, PCA, ICA and random "
            "directions of the same site",
            "Cunningham et al. 2023, figure 2",
            f"{_share(best)}; " + "; ".join(map(_share, controls)),
            all(number(best, "good low") > number(row, "good high") for row in controls),
        ),
        Claim(
            "ICA comes second, above the other controls",
            "Cunningham et al. 2023, figure 2",
            "; ".join(map(_share, controls)),
            max(controls, key=lambda row: number(row, "good"))["directions"] == "ICA",
        ),
        Claim(
            "a dictionary of a model with random weights can look as interpretable",
            "Heap et al. 2025, arXiv 2501.17727",
            f"{_share(random)}; {_share(best)}",
            number(random, "good") >= number(best, "good low"),
        ),
    )


def _share(row: Row) -> str:
    low, high = number(row, "good low"), number(row, "good high")
    return f"{row['directions']} {number(row, 'good'):.1%} [{low:.1%}, {high:.1%}]"


def figure(table: Table) -> Figure:
    """The share of features with a good rule, with its interval."""
    chart = panels("Interpretability without a judge")
    add_bars(chart, table.rows, "directions", "good", ("good low", "good high"), showlegend=False)
    return chart.update_xaxes(title="share of features with a rule of F1 > 0.8", tickformat=".1%")
