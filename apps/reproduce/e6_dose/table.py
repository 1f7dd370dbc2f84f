"""The table, the claims and the plot of E6."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from apps.reproduce.drawing import line, panels
from apps.reproduce.result import Claim, Row, Table
from steer.maths.statistics import Interval, interval

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

BUDGET = 0.5
COLLAPSED = 2.0
"""Nats per token."""
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
    **{
        name + end: meaning + what
        for name, meaning in FIGURES.items()
        for end, what in (("", ", mean"), ("_low", ", 95% low"), ("_high", ", 95% high"))
    },
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


@dataclass(frozen=True)
class Dosed:
    """Figures of one feature at one dose. multiple: of the maximum; None if let go of."""

    group: str
    feature: int
    dose: str
    multiple: float | None
    figures: Mapping[str, float]


def tabulate(found: Sequence[Dosed], seed: int) -> Table:
    """One row a group and dose."""
    merged = balanced(merge(found))
    rows: list[Row] = []
    for group, dose in dict.fromkeys((each.group, each.dose) for each in merged):
        several = [e.figures for e in merged if (e.group, e.dose) == (group, dose)]
        row: dict[str, str | int | float | None] = {"group": group, "dose": dose}
        for name in FIGURES:
            known = [figures[name] for figures in several if name in figures]
            row |= _bounds(name, known, seed)
        rows.append({**row, "n": len(several)})
    claims = [
        claim
        for group in dict.fromkeys(each.group for each in merged)
        for claim in _claims([each for each in merged if each.group == group], group, seed)
    ]
    return Table(COLUMNS, tuple(rows), tuple(claims), NOTES, _figure)


def merge(found: Sequence[Dosed]) -> list[Dosed]:
    """Figures of one feature at one dose together, doses in ascending order, unsteered first."""
    figures: dict[tuple[str, int, str, float | None], dict[str, float]] = {}
    for each in found:
        key = (each.group, each.feature, each.dose, each.multiple)
        figures.setdefault(key, {}).update(each.figures)

    def order(key: tuple[str, int, str, float | None]) -> tuple[str, bool, float]:
        group, _, dose, multiple = key
        return group, dose != "none", math.inf if multiple is None else multiple

    return [Dosed(*key, figures[key]) for key in sorted(figures, key=order)]


def balanced(found: Sequence[Dosed]) -> list[Dosed]:
    """With the balance of concept and fluency, where text was written."""
    unsteered = {each.feature: each.figures for each in found if each.dose == "none"}
    done = []
    for each in found:
        figures = dict(each.figures)
        if "loss" in figures and each.feature in unsteered:
            fluency = min(1.0, math.exp(unsteered[each.feature]["loss"] - figures["loss"]))
            concept = figures["concept"]
            both = concept + fluency
            figures["balance"] = 2 * concept * fluency / both if both else 0.0
        done.append(Dosed(each.group, each.feature, each.dose, each.multiple, figures))
    return done


def crossing(points: Sequence[tuple[float, float]], level: float = BUDGET) -> float | None:
    """Where the line through (dose, cost) points, from (0, 0), first reaches the level."""
    before = (0.0, 0.0)
    for dose, cost in sorted(points):
        if cost >= level > before[1]:
            share = (level - before[1]) / (cost - before[1])
            return before[0] + share * (dose - before[0])
        before = dose, cost
    return None


# -- claims ----------------------------------------------------------------------------------------


def _claims(found: Sequence[Dosed], group: str, seed: int) -> list[Claim]:
    return [
        *_half_nat(found, group, seed),
        _collapse(found, group, seed),
        *_interior(found, group, seed),
        _hysteresis(found, group, seed),
    ]


def _half_nat(found: Sequence[Dosed], group: str, seed: int) -> list[Claim]:
    """The dose at which the loss has risen by half a nat."""
    multiples, relative = [], []
    for feature in dict.fromkeys(each.feature for each in found):
        side = [
            each
            for each in found
            if each.feature == feature and (each.multiple or 0) > 0 and "delta_ce" in each.figures
        ]
        cost = [each.figures["delta_ce"] for each in side]
        by_multiple = crossing(list(zip([e.multiple or 0 for e in side], cost, strict=True)))
        by_size = crossing(list(zip([e.figures["relative_dose"] for e in side], cost, strict=True)))
        if by_multiple is not None and by_size is not None:
            multiples.append(by_multiple)
            relative.append(by_size)
    if not multiples:
        return [Claim(*_DOSE_UNIT, f"no {group} feature costs 0.5 nats at any dose", None)]
    low, high = min(multiples), max(multiples)
    measured = (
        f"{group}: 0.5 nats at {interval(torch.tensor(multiples), seed=seed)} times the maximum "
        f"(from {low:.2g} to {high:.2g}) and ‖Δ‖/‖x‖ {interval(torch.tensor(relative), seed=seed)} "
        f"(from {min(relative):.2g} to {max(relative):.2g}), {len(multiples)} features"
    )
    # A unit is common if it varies less between features than the multiple does.
    steady = _spread(relative) < _spread(multiples)
    return [Claim(*_DOSE_UNIT, measured, steady if len(multiples) > 2 else None)]


_DOSE_UNIT = (
    "the cost sets a dose that is comparable between features, better than multiples of the "
    "maximum do: ‖Δ‖/‖x‖ at 0.5 nats varies less between features (in its logarithm)",
    "Chalnev et al. 2024 use the 0.5-nat dose",
)


def _spread(values: Sequence[float]) -> float:
    return torch.tensor(values).log().std().item()


def _collapse(found: Sequence[Dosed], group: str, seed: int) -> Claim:
    """Where a token costs two nats more: text made of that is no text any more."""
    reached = []
    for feature in dict.fromkeys(each.feature for each in found):
        points = [
            (e.figures["relative_dose"], e.figures["delta_ce"])
            for e in _read(found)
            if e.feature == feature
        ]
        dose = crossing(points, COLLAPSED)
        if dose is not None:
            reached.append(dose)
    text = f"text collapses (costs {COLLAPSED:g} nats a token more) at a relative dose of 1.9"
    source = "weak reference, one report"
    if len(reached) < 3:
        return Claim(text, source, f"{group}: {len(reached)} features get there", None)
    found_at = interval(torch.tensor(reached), seed=seed)
    measured = f"{group}: at ‖Δ‖/‖x‖ {found_at} (from {min(reached):.2g} to {max(reached):.2g})"
    return Claim(text, source, measured, found_at.low <= 1.9 <= found_at.high)


def _read(found: Sequence[Dosed]) -> list[Dosed]:
    return [each for each in found if "delta_ce" in each.figures and (each.multiple or 0) > 0]


def _interior(found: Sequence[Dosed], group: str, seed: int) -> list[Claim]:
    """Unsteered and the strongest dose are both worse than some dose between them."""
    names = [e.dose for e in found if e.multiple is not None and "balance" in e.figures]
    doses = list(dict.fromkeys(names))
    values = {
        dose: torch.tensor([e.figures["balance"] for e in found if e.dose == dose])
        for dose in doses
    }
    if len(doses) < 3:
        return []
    best = max(doses, key=lambda dose: values[dose].mean().item())
    text = "concept against fluency has its best dose inside the range, not at either end"
    source = "AxBench (Wu et al. 2025) and Chalnev et al. 2024 search for it"
    if best in (doses[0], doses[-1]):
        return [Claim(text, source, f"{group}: best at {best}", False)]
    over = [interval(values[best] - values[end], seed=seed) for end in (doses[0], doses[-1])]
    measured = (
        f"{group}: best at {best}, balance {interval(values[best], seed=seed)}; above unsteered by "
        f"{over[0]}, above {doses[-1]} by {over[1]}"
    )
    return [Claim(text, source, measured, all(each.low > 0 for each in over))]


def _hysteresis(found: Sequence[Dosed], group: str, seed: int) -> Claim:
    def second(dose: str) -> torch.Tensor:
        name = "concept_second_half"
        return torch.tensor([e.figures[name] for e in found if e.dose == dose])

    gone, never, held = second("let go"), second("none"), second("1x max")
    stays = interval(gone - never, seed=seed)
    measured = (
        f"{group}: share of concept words in the second half {interval(gone, seed=seed)} after "
        f"letting go, {interval(never, seed=seed)} never steered, {interval(held, seed=seed)} "
        f"steered throughout; let go − never {stays}"
    )
    text = "the concept stays in the text after the clamp is let go of (hysteresis)"
    return Claim(text, "no reference", measured, stays.low > 0 if len(gone) > 2 else None)


def _bounds(name: str, values: Sequence[float], seed: int) -> dict[str, float | None]:
    if not values:
        return {name: None, f"{name}_low": None, f"{name}_high": None}
    found: Interval = interval(torch.tensor(values), seed=seed)
    return {name: found.mean, f"{name}_low": found.low, f"{name}_high": found.high}


def _figure(table: Table) -> Figure:
    """What each dose costs on neutral text, and what it buys in written text."""
    figure = panels("Dose response", ("cost on neutral text", "concept against fluency"))
    for number, group in enumerate(dict.fromkeys(str(row["group"]) for row in table.rows)):
        costs = [r for r in table.rows if r["group"] == group and r["delta_ce"] is not None]
        texts = [
            r
            for r in table.rows
            if r["group"] == group and r["loss"] is not None and r["dose"] != "let go"
        ]
        figure.add_scatter(
            x=[float(str(r["dose"]).split("x")[0]) for r in costs],
            y=[r["delta_ce"] for r in costs],
            name=f"{group} features",
            legendgroup=group,
            mode="lines+markers",
            line=line(number),
            row=1,
            col=1,
        )
        figure.add_scatter(
            x=[r["loss"] for r in texts],
            y=[r["concept"] for r in texts],
            text=[str(r["dose"]) for r in texts],
            mode="lines+markers+text",
            textposition="top center",
            line=line(number),
            legendgroup=group,
            showlegend=False,
            row=1,
            col=2,
        )
    figure.update_xaxes(title_text="multiple of the maximum", row=1, col=1)
    figure.update_yaxes(title_text="ΔCE, nats per token", row=1, col=1)
    figure.update_xaxes(title_text="loss of the text, nats per token", row=1, col=2)
    figure.update_yaxes(title_text="share of concept words", row=1, col=2)
    return figure
