"""What E9's papers and references say, and whether it holds here."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from apps.reproduce.e9_side_effects.single_latents import (
    Ablated,
    by_position,
    often,
    variance_shares,
)
from apps.reproduce.e9_side_effects.spillover import Spilled
from apps.reproduce.result import Claim
from steer.maths.statistics import Interval, interval, ratio_interval

READOUTS: dict[str, Callable[[Ablated], float]] = {
    "kl": lambda row: row.kl,
    "kl_per_norm": lambda row: row.kl / row.norm,
}


def claims(
    ablated: Sequence[Ablated], spilled: Sequence[Spilled], names: Sequence[str], seed: int
) -> tuple[Claim, ...]:
    """names: as `tabulate` has them."""
    return (
        _position_claim(ablated, names[0]),
        *(_flip_claim(ablated, names[0], other, seed) for other in names[1:]),
        *_direction_claim(ablated, names, seed),
        *_spill_claims(spilled, seed),
    )


def _position_claim(ablated: Sequence[Ablated], trained: str) -> Claim:
    text = "the token explains more of the variance of a single feature's KL than the feature does"
    source = "reference: 67% position, 17% latent"
    repeated = often([row for row in ablated if row.dictionary == trained])
    if len({row.feature for row in repeated}) < 2:
        return Claim(text, source, "too few features at several tokens", None)
    position, feature = variance_shares(repeated, READOUTS["kl"])
    count = len({row.feature for row in repeated})
    measured = f"token {position}, feature {feature} of log KL, {count} features"
    return Claim(text, source, measured, position.low > feature.high)


def ratios(ablated: Sequence[Ablated], trained: str, other: str, seed: int) -> dict[str, Interval]:
    """Mean of each readout of the trained dictionary over that of the other, on the same tokens."""
    done = {}
    for name, measure in READOUTS.items():
        ours, theirs = (by_position(ablated, measure, name) for name in (trained, other))
        shared = sorted(ours.keys() & theirs.keys())
        above, below = (torch.tensor([side[p] for p in shared]) for side in (ours, theirs))
        done[name] = ratio_interval(above, below, seed=seed)
    return done


def _flip_claim(ablated: Sequence[Ablated], trained: str, other: str, seed: int) -> Claim:
    ratio = ratios(ablated, trained, other, seed)
    raw, per_norm = ratio["kl"], ratio["kl_per_norm"]
    return Claim(
        f"raw KL and KL per ‖Δx‖ rank trained features and {other} the other way round",
        "reference: 0.68 raw, 1.69 per norm",
        f"trained over {other}: KL {raw}, KL per ‖Δx‖ {per_norm}",
        (raw.high < 1 < per_norm.low) or (per_norm.high < 1 < raw.low),
    )


def _direction_claim(ablated: Sequence[Ablated], names: Sequence[str], seed: int) -> list[Claim]:
    """Rows of equal norm that nobody trained; the last two of the dictionaries."""
    trained, *others = names
    same = [name for name in others if name.startswith("trained encoder")]
    if not same:
        return []
    gained = {name: ratios(ablated, trained, name, seed)["kl"] for name in same}
    listed = "; ".join(f"trained over {name} {ratio}" for name, ratio in gained.items())
    return [
        Claim(
            "directions that nobody trained do as much as trained ones of the same ‖Δx‖",
            "Korznikov 2026: .72 against .73 in causal editing",
            f"KL of ablating one feature, {listed}",
            all(ratio.low < 1 < ratio.high for ratio in gained.values()),
        )
    ]


def _spill_claims(spilled: Sequence[Spilled], seed: int) -> list[Claim]:
    def difference(name: str, control: str) -> Interval:
        ours, theirs = (
            torch.tensor([getattr(e, name) for e in spilled if e.control == arm])
            for arm in ("edit", control)
        )
        return interval(ours - theirs, seed=seed)

    claims = []
    for control, called in (("random", "a random direction"), ("matched", "another feature")):
        kl, cost, objects = (difference(name, control) for name in ("kl", "delta_ce", "ioi"))
        claims.append(
            Claim(
                f"a feature costs unrelated abilities less than {called} of the same ‖Δx‖",
                "control after O'Brien 2024, where an unrelated feature hurt as much",
                f"feature − {control}: ΔCE at unrelated tokens {cost}, indirect objects {objects}, "
                f"KL {kl}",
                cost.high < 0,
            )
        )
    return claims
