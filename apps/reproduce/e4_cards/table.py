"""The table, the claims and the plot of E4."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from apps.reproduce.cells import Row, number
from apps.reproduce.drawing import add_bars, line, panels
from apps.reproduce.result import Claim, Table

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

COLUMNS = {
    "case": "kind of token",
    "part": "detector: on the half of the texts that was not searched; input: tokens by "
    "activation; output: change of a token's log-probability under ablation; parent: fall of the "
    "feature when an earlier one is ablated; hydra: the same with the best parent gone",
    "what": "feature, range of activation, token, or earlier feature",
    "value": "precision, recall or F1; Δ log-probability, nats; fall in activation units",
    "low": "95% low, over texts or contexts",
    "high": "95% high",
    "share": "of tokens of the kind (input); whether it is of the kind (output); of the activation "
    "(parent)",
    "n": "tokens of the kind (detector), tokens (input), contexts (output), contexts in which the "
    "parent is active",
    "text": "commonest tokens, control, or what the parent fires on",
}
_PAPER = "Cunningham et al. 2023, section 5"
_STRONG = 5
"""Bins of ten that are the upper half."""


@dataclass(frozen=True)
class Part:
    """A finding about a case; the columns of the table."""

    case: str
    part: str
    what: str
    value: float | None = None
    low: float | None = None
    high: float | None = None
    share: float | None = None
    n: int | None = None
    text: str = ""


def tabulate(parts: Sequence[Part], without: Sequence[str] = ()) -> Table:
    """Rows as they are, and the claims about each case; without: cases that have no card."""
    rows = tuple(
        vars(replace(part, what=repr(part.what)) if part.part == "output" else part)
        for part in parts
    )
    notes = (
        "The feature and its threshold are the best of the whole dictionary by F1 on one half of "
        "the texts; principal components and neurons were searched in the same way. A tree's "
        "contexts are from the texts and from the dictionary's own top contexts.",
        *(
            f"No feature detects the {case} often enough in these texts: no card."
            for case in without
        ),
    )
    return Table(COLUMNS, rows, claims(parts), notes, figure if parts else None)


def claims(parts: Sequence[Part]) -> tuple[Claim, ...]:
    """What the paper says of each case."""
    cases = dict.fromkeys(part.case for part in parts)
    groups = [[part for part in parts if part.case == case] for case in cases]
    return tuple(
        claim
        for own in groups
        for claim in (_detects(own), _monosemantic(own), _falls(own), *_parents(own))
    )


def _detects(own: Sequence[Part]) -> Claim:
    f1 = [part for part in own if part.part == "detector f1"]
    ours, others = f1[0], f1[1:]
    precision, recall = (
        next(part for part in own if part.part == f"detector {name}")
        for name in ("precision", "recall")
    )
    listed = "; ".join(f"{part.what} {part.value:.2f}" for part in others)
    return Claim(
        f"{own[0].case}: a feature detects it better than any principal component or neuron",
        f"{_PAPER}; its own detector has precision .37, recall .77",
        f"{ours.what} {ours.text}: F1 {ours.value:.2f} [{ours.low:.2f}, {ours.high:.2f}], "
        f"precision {precision.value:.2f}, recall {recall.value:.2f}; {listed}; "
        f"{ours.n} such tokens",
        all((ours.value or 0) > (part.value or 0) for part in others),
    )


def _monosemantic(own: Sequence[Part]) -> Claim:
    bins = [part for part in own if part.part == "input"]
    full = [part for part in bins if part.n]
    strong = [part for part in bins[_STRONG:] if part.n]
    listed = ", ".join(f"{part.share:.2f}" for part in full)
    return Claim(
        f"{own[0].case}: one kind of token in every bin of activation (monosemantic)",
        _PAPER,
        f"share of tokens of the kind, weakest bin first: {listed}",
        bool(strong) and all((part.share or 0) > 0.8 for part in full),
    )


def _falls(own: Sequence[Part]) -> Claim:
    output = [part for part in own if part.part == "output"]
    listed = ", ".join(f"{part.what!r} {part.value:.2f}" for part in output[:5])
    kind = sum((part.share or 0) for part in output)
    first = output[0]
    return Claim(
        f"{own[0].case}: ablating the feature lowers such tokens most",
        _PAPER,
        f"falls most: {listed}; {kind:.0f} of {len(output)} are of the kind; for the first, "
        f"{first.text}",
        first.share == 1 and (first.high or 0) < 0,
    )


def _parents(own: Sequence[Part]) -> list[Claim]:
    parents = [part for part in own if part.part == "parent"]
    if not parents:
        return []
    sure = [part for part in parents if (part.low or 0) > 0]
    best = parents[0]
    computed = Claim(
        f"{own[0].case}: it is computed from interpretable earlier features",
        _PAPER,
        f"{len(sure)} of the {len(parents)} best parents have an effect with an interval above "
        f"0; the best, {best.what}, takes {best.share:.0%} of it and {best.text}",
        bool(sure),
    )
    backups = [part for part in own if part.part == "hydra"]
    return [computed, *map(_takes_over, backups[:1])]


def _takes_over(backup: Part) -> Claim:
    alone = float(backup.text.rsplit(" ", 1)[-1])
    return Claim(
        f"{backup.case}: other features take over when its best parent is ablated (hydra)",
        "Prakash 2025",
        f"with the best parent gone, {backup.what} does {backup.value:.3g} "
        f"[{backup.low:.3g}, {backup.high:.3g}], alone {alone:.3g}",
        (backup.low or 0) > alone,
    )


def figure(table: Table) -> Figure:
    """What each case's feature fires on, by strength, and which tokens its ablation makes rarer."""
    cases = list(dict.fromkeys(str(row["case"]) for row in table.rows))
    headings = [*(f"{case}: tokens by activation" for case in cases)]
    headings += [f"{case}: Δ log-probability under ablation, nats" for case in cases]
    chart = panels("Feature cards", headings, rows=2, height=640, vertical_spacing=0.2)
    for column, case in enumerate(cases, start=1):
        own = [row for row in table.rows if row["case"] == case]
        _add_bins(chart, [row for row in own if row["part"] == "input"], column)
        falls = [row for row in own if row["part"] == "output"]
        add_bars(
            chart, falls, "what", "value", ("low", "high"), showlegend=False, row=2, col=column
        )
    return chart.update_layout(barmode="stack")


def _add_bins(chart: Figure, bins: Sequence[Row], column: int) -> None:
    """Tokens of the kind and others in each bin of activation, stacked."""
    counts = [number(row, "n") for row in bins]
    of_kind = [count * number(row, "share") for count, row in zip(counts, bins, strict=True)]
    others = [count * (1 - number(row, "share")) for count, row in zip(counts, bins, strict=True)]
    for place, (name, heights) in enumerate((("of the kind", of_kind), ("other tokens", others))):
        chart.add_bar(
            x=[row["what"] for row in bins],
            y=heights,
            name=name,
            legendgroup=name,
            showlegend=column == 1,
            marker_color=line(place)["color"],
            row=1,
            col=column,
        )
    chart.update_yaxes(title_text="tokens", row=1, col=column)
