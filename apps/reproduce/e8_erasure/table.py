"""E8's table: its rows, its claims and its plot."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from apps.reproduce.cells import Row, bounds, row_of
from apps.reproduce.drawing import line, panels
from apps.reproduce.e8_erasure.erased import Erased
from apps.reproduce.result import Claim, Table
from steer.figures.palette import GRID
from steer.maths.statistics import Interval, interval

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

COLUMNS = {
    "site": "where it is erased",
    "fitted on": "prompts that the eraser was fitted on",
    "tested on": "prompts of other names that it is judged on",
    "method": "eraser",
    "feature": "the dictionary's feature, if it is one",
    "P(correct)": "of the two answers; 0.5 is erased",
    "low": "95% bootstrap interval over names",
    "high": "the same",
    "accuracy": "share of prompts whose right answer is the likelier",
    "edit norm": "‖Δ‖ over the name and the tokens after it, mean over prompts",
    "neutral KL": "KL(clean‖edited) on unrelated text erased at every token but the first, nats",
    "KL low": "95% bootstrap interval over texts",
    "KL high": "the same",
    "names": "tested",
}
_SOURCE = "Cunningham et al. 2023, first version, section on concept erasure"
NONE, PROJECTED, ABLATED = "none", "feature: direction projected out", "feature: code ablated"
LEACE, MEAN, RANDOM = "LEACE", "mean projection", "random direction"
RANDOM_BEST = "random dictionary's best"
_BASE = 0.9
"""Accuracy below which there is nothing to erase, and the experiment is void."""


def tabulate(erased: Sequence[Erased], notes: Sequence[str]) -> Table:
    """A row a site, fitted and tested family, and method; random ones are averaged."""
    rows = [
        _row(_group(erased, key, method))
        for key in dict.fromkeys(row.key for row in erased)
        for method in dict.fromkeys(row.method for row in erased)
    ]
    return Table(COLUMNS, tuple(rows), claims(erased), tuple(notes), figure)


def _row(group: Sequence[Erased]) -> Row:
    chance, first = interval(_by_name(group)), group[0]
    cells = {
        "site": first.site,
        "fitted on": first.fitted,
        "tested on": first.tested,
        "method": first.method,
        "feature": first.feature,
        **bounds("P(correct)", chance, ""),
        "accuracy": _accuracy(group),
        "edit norm": _mean(group, "norm").mean().item(),
        **bounds("neutral KL", interval(_mean(group, "kl")), "KL "),
        "names": chance.n,
    }
    return row_of(COLUMNS, cells)


def _accuracy(group: Sequence[Erased]) -> float:
    return (torch.stack([row.chance for row in group]) > 0.5).double().mean().item()


def _group(erased: Sequence[Erased], key: tuple[str, str, str], method: str) -> list[Erased]:
    return [row for row in erased if row.key == key and row.method == method]


def _mean(group: Sequence[Erased], name: str) -> Tensor:
    return torch.stack([getattr(row, name) for row in group]).mean(0)


def _by_name(group: Sequence[Erased]) -> Tensor:
    """P(correct) of each name, [names]: its prompts, and random erasers, averaged."""
    chance, names = _mean(group, "chance"), group[0].names
    places: dict[str, list[int]] = {}
    for place, name in enumerate(names):
        places.setdefault(name, []).append(place)
    return torch.stack([chance[index].mean() for index in places.values()])


def claims(erased: Sequence[Erased]) -> tuple[Claim, ...]:
    """One set a site and family, fitted and tested on the same family."""
    keys = [key for key in dict.fromkeys(row.key for row in erased) if key[1] == key[2]]
    return tuple(claim for key in keys for claim in _claims_of(erased, key))


def _claims_of(erased: Sequence[Erased], key: tuple[str, str, str]) -> list[Claim]:
    where = f"{key[0]}, {key[1]}"
    base = _group(erased, key, NONE)
    accuracy = _accuracy(base[:1])
    void = accuracy < _BASE
    texts = (
        f"{where}: one feature's direction erases more than a random one",
        *(
            f"{where}: it leaves no more of the concept than {prior} (within the interval of the "
            "paired difference), and disrupts other text less"
            for prior in (LEACE, MEAN)
        ),
    )
    if void:
        why = f"the model answers {accuracy:.0%} right without an edit, below {_BASE:.0%}: void"
        return [Claim(text, _SOURCE, why, None) for text in texts]
    own, random = _group(erased, key, PROJECTED), _group(erased, key, RANDOM)
    gap = interval(_by_name(random) - _by_name(own))
    measured = (
        f"P(correct) {_shown(_by_name(base))} unedited, {_shown(_by_name(own))} by the feature, "
        f"{_shown(_by_name(random))} by a random direction"
    )
    against = [_against(own, _group(erased, key, prior)) for prior in (LEACE, MEAN)]
    pairs = [(measured, gap.low > 0), *against]
    return [Claim(t, _SOURCE, m, holds) for t, (m, holds) in zip(texts, pairs, strict=True)]


def _against(own: Sequence[Erased], prior: Sequence[Erased]) -> tuple[str, bool]:
    """Both in figures, and whether the first erases as much at less cost to other text."""
    left = interval(_by_name(own) - _by_name(prior))
    cost = interval(_mean(prior, "kl") - _mean(own, "kl"))
    measured = (
        f"P(correct) {_shown(_by_name(own))} against {_shown(_by_name(prior))}; neutral KL "
        f"{_shown(_mean(own, 'kl'))} against {_shown(_mean(prior, 'kl'))}; edit norm "
        f"{_mean(own, 'norm').mean():.3g} against {_mean(prior, 'norm').mean():.3g}"
    )
    return measured, left.low <= 0 and cost.low > 0


def _shown(values: Tensor) -> Interval:
    return interval(values)


def figure(table: Table) -> Figure:
    """P(correct) against damage to other text, a panel per site and family that is fitted and
    tested; the grey line is without an edit, the dotted one is chance."""
    rows: list[Any] = [row for row in table.rows if row["fitted on"] == row["tested on"]]
    groups = list(dict.fromkeys((row["site"], row["fitted on"]) for row in rows))
    headings = [f"{site}, {family}" for site, family in groups]
    down = 2 if len(groups) > 2 else 1
    chart = panels("Erasing gender", headings, rows=down, height=660, shared_xaxes=True)
    methods = list(dict.fromkeys(row["method"] for row in rows if row["method"] != NONE))
    across = len(groups) // down
    for place, (site, family) in enumerate(groups):
        at = {"row": place // across + 1, "col": place % across + 1}
        part = [row for row in rows if (row["site"], row["fitted on"]) == (site, family)]
        for row in part:
            if row["method"] == NONE:
                continue
            number = methods.index(row["method"])
            chart.add_scatter(
                x=[max(row["neutral KL"], 1e-7)],
                y=[row["P(correct)"]],
                error_y={
                    "array": [row["high"] - row["P(correct)"]],
                    "arrayminus": [row["P(correct)"] - row["low"]],
                    "thickness": 1,
                },
                mode="markers",
                marker={"color": line(number)["color"], "symbol": number, "size": 9},
                name=row["method"],
                legendgroup=row["method"],
                showlegend=place == 0,
                **at,
            )
        for row in part:  # once the panel has points: plotly draws no line across an empty one
            if row["method"] == NONE:
                chart.add_hline(y=row["P(correct)"], line_color=GRID, layer="below", **at)
        chart.add_hline(y=0.5, line_dash="dot", **at)
        chart.update_yaxes(title="P(correct answer)", **at)
    chart.update_xaxes(type="log")
    return chart.update_xaxes(title="KL on unrelated text (nats per token)", row=down)
