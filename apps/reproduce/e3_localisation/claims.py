"""What E3's papers and references say, and whether it holds here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

from apps.reproduce.e3_localisation.localised import Checked, Localised
from apps.reproduce.result import Claim
from steer.effects.patching.curve import compare_areas
from steer.maths.statistics import interval

UPTO = 64.0
"""Features up to which curves are compared: beyond, everything is patched."""
FLAT = "L1 α=0"
CONTROLS = ("PCA", "neurons", "random directions")
_PAPER = "Cunningham et al. 2023, section 4 and figure 3"


def reach_of(localised: Sequence[Localised]) -> float:
    """‖Δx‖ that every curve gets to."""
    return min(part.curve.norm.amax(0).min().item() for part in localised)


def claims(
    localised: Sequence[Localised], checks: Sequence[Checked], seed: int
) -> tuple[Claim, ...]:
    """Of each ranking, with each control, along either axis; of all curves; of the search."""
    reach = reach_of(localised)
    closer = []
    for ranking in dict.fromkeys(part.ranking for part in localised):
        by_name = {part.dictionary: part for part in localised if part.ranking == ranking}
        for axis, called, end in (("count", "number of features", UPTO), ("norm", "‖Δx‖", reach)):
            for other in (*CONTROLS, FLAT):
                if other in by_name:
                    what = f"{called}, {ranking} ranking"
                    closer.append(_closer(by_name, other, axis, what, end, seed))
    floor = _floor_claim({part.dictionary: part for part in localised}, seed)
    searched = [_acdc_claim(checks)] if checks else []
    return (*closer, floor, _ends_claim(localised), *searched)


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
    penalised = [part for name, part in by_name.items() if name.startswith("L1")]
    if len(penalised) < 2:
        return Claim(text, source, "fewer than two α", None)
    floors = [interval(part.floor, seed=seed) for part in penalised]
    rise = interval(penalised[-1].floor - penalised[0].floor, seed=seed)
    steps = [b.mean - a.mean for a, b in pairwise(floors)]
    listed = "; ".join(
        f"{part.dictionary} {floor}" for part, floor in zip(penalised, floors, strict=True)
    )
    return Claim(
        text,
        source,
        f"{listed}; last − first {rise}",
        rise.low > 0 and all(step > 0 for step in steps),
    )


def _ends_claim(localised: Sequence[Localised]) -> Claim:
    gap = max(part.endpoint_gap for part in localised)
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
