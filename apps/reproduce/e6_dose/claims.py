"""What E6's papers and references say, and whether it holds here."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from apps.reproduce.e6_dose.dosed import BUDGET, Dosed, crossing
from apps.reproduce.result import Claim
from steer.maths.statistics import interval

COLLAPSED = 2.0
"""Nats per token."""


def claims(dosed: Sequence[Dosed], seed: int) -> tuple[Claim, ...]:
    """Of each group on its own. dosed: merged and balanced."""
    listed: list[Claim] = []
    for group in dict.fromkeys(row.group for row in dosed):
        own = [row for row in dosed if row.group == group]
        listed += [_half_nat(own, group, seed), _collapse(own, group, seed)]
        listed += [*_interior(own, group, seed), _hysteresis(own, group, seed)]
    return tuple(listed)


def _half_nat(dosed: Sequence[Dosed], group: str, seed: int) -> Claim:
    """The dose at which the loss has risen by half a nat."""
    by_multiple = _reached(dosed, lambda row: row.multiple or 0, BUDGET)
    by_size = _reached(dosed, _relative_dose, BUDGET)
    both = [feature for feature in by_multiple if feature in by_size]
    if not both:
        return Claim(*_DOSE_UNIT, f"no {group} feature costs 0.5 nats at any dose", None)
    multiples = [by_multiple[feature] for feature in both]
    relative = [by_size[feature] for feature in both]
    measured = (
        f"{group}: 0.5 nats at {_spanned(multiples, seed, 'times the maximum ')} and ‖Δ‖/‖x‖ "
        f"{_spanned(relative, seed)}, {len(both)} features"
    )
    # A unit is common if it varies less between features than the multiple does.
    steady = _spread(relative) < _spread(multiples)
    return Claim(*_DOSE_UNIT, measured, steady if len(both) > 2 else None)


_DOSE_UNIT = (
    "the cost sets a dose that is comparable between features, better than multiples of the "
    "maximum do: ‖Δ‖/‖x‖ at 0.5 nats varies less between features (in its logarithm)",
    "Chalnev et al. 2024 use the 0.5-nat dose",
)


def _spread(values: Sequence[float]) -> float:
    return torch.tensor(values).log().std().item()


def _spanned(values: Sequence[float], seed: int, unit: str = "") -> str:
    """The mean with its interval, and the range."""
    mean = interval(torch.tensor(values), seed=seed)
    return f"{mean} {unit}(from {min(values):.2g} to {max(values):.2g})"


def _relative_dose(row: Dosed) -> float:
    return row.figures["relative_dose"]


def _reached(
    dosed: Sequence[Dosed], dose: Callable[[Dosed], float], level: float
) -> dict[int, float]:
    """Feature -> the dose at which it costs so many nats, of those that ever do."""
    points: dict[int, list[tuple[float, float]]] = {}
    for row in dosed:
        if "delta_ce" in row.figures and (row.multiple or 0) > 0:
            points.setdefault(row.feature, []).append((dose(row), row.figures["delta_ce"]))
    crossed = {feature: crossing(own, level) for feature, own in points.items()}
    return {feature: at for feature, at in crossed.items() if at is not None}


def _collapse(dosed: Sequence[Dosed], group: str, seed: int) -> Claim:
    """Where a token costs two nats more: text made of that is no text any more."""
    reached = list(_reached(dosed, _relative_dose, COLLAPSED).values())
    text = f"text collapses (costs {COLLAPSED:g} nats a token more) at a relative dose of 1.9"
    source = "weak reference, one report"
    if len(reached) < 3:
        return Claim(text, source, f"{group}: {len(reached)} features get there", None)
    mean = interval(torch.tensor(reached), seed=seed)
    measured = f"{group}: at ‖Δ‖/‖x‖ {_spanned(reached, seed)}"
    return Claim(text, source, measured, mean.low <= 1.9 <= mean.high)


def _interior(dosed: Sequence[Dosed], group: str, seed: int) -> list[Claim]:
    """Unsteered and the strongest dose are both worse than some dose between them."""
    names = [e.dose for e in dosed if e.multiple is not None and "balance" in e.figures]
    doses = list(dict.fromkeys(names))
    values = {
        dose: torch.tensor([e.figures["balance"] for e in dosed if e.dose == dose])
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
    return [Claim(text, source, measured, all(gain.low > 0 for gain in over))]


def _hysteresis(dosed: Sequence[Dosed], group: str, seed: int) -> Claim:
    def second(dose: str) -> torch.Tensor:
        name = "concept_second_half"
        return torch.tensor([e.figures[name] for e in dosed if e.dose == dose])

    gone, never, held = second("let go"), second("none"), second("1x max")
    stays = interval(gone - never, seed=seed)
    measured = (
        f"{group}: share of concept words in the second half {interval(gone, seed=seed)} after "
        f"letting go, {interval(never, seed=seed)} never steered, {interval(held, seed=seed)} "
        f"steered throughout; let go − never {stays}"
    )
    text = "the concept stays in the text after the clamp is let go of (hysteresis)"
    return Claim(text, "no reference", measured, stays.low > 0 if len(gone) > 2 else None)
