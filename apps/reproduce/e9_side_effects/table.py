"""The table, the claims and the plot of E9."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch

from apps.reproduce.cells import Row, Value, bounds, row_of, with_bounds
from apps.reproduce.drawing import add_bars, panels
from apps.reproduce.e9_side_effects.single_latents import (
    LEAST_POSITIONS,
    Ablated,
    by_position,
    often,
    variance_shares,
)
from apps.reproduce.e9_side_effects.spillover import CONTROLS, FIGURES, Spilled
from apps.reproduce.result import Claim, Table
from steer.maths.statistics import Interval, interval, ratio_interval

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

ABLATE, CLAMP = "ablate one at one token", "clamp to its maximum"
READOUTS: dict[str, Callable[[Ablated], float]] = {
    "kl": lambda each: each.kl,
    "kl_per_norm": lambda each: each.kl / each.norm,
}
COLUMNS = {
    "edit": f"{ABLATE}: each active feature alone; {CLAMP}: of the README's features, at every "
    "token but the first",
    "what": "the dictionary that the feature is of; or the edit and its controls",
    **with_bounds(
        {
            "kl": "KL(clean‖edited), nats",
            "kl_per_norm": "the same per unit of ‖Δx‖",
            "norm": "‖Δx‖ at the token",
        }
    ),
    **with_bounds(
        {
            f"{part}{readout}": f"share of the variance of log {name} that the {part} explains"
            for readout, name in (("", "KL"), ("_per_norm", "KL per ‖Δx‖"))
            for part in ("token", "feature")
        },
        mean="",
    ),
    **with_bounds(
        {
            "delta_ce": "rise of the loss at tokens the feature does not promote, nats",
            "top1": "rise of the share of those tokens guessed right",
            "ioi": "share of indirect objects put above the subject",
        }
    ),
    "density": "share of tokens at which the clamped features are active, or those in their place, "
    "mean",
    "density_low": "the lowest of them",
    "density_high": "the highest",
    "n": "tokens, or features clamped",
    "edits": "edits measured",
}
NOTES = (
    f"Shares of variance are of features ablated at {LEAST_POSITIONS} tokens or more: two crossed "
    "random effects by the method of moments, intervals by a jackknife over tokens. Other "
    "intervals are bootstraps over tokens (ablating) and over features (clamping).",
    "The baselines keep as many features a token as the trained dictionary has on average, so one "
    "feature of theirs is no smaller a part of the code. A trained encoder with other decoder rows "
    "gives edits of exactly the trained ‖Δx‖.",
)


def tabulate(
    found: Sequence[Ablated], spilled: Sequence[Spilled], names: Sequence[str], seed: int
) -> Table:
    """names: of the dictionaries, the trained one first."""
    rows = [_ablation_row(found, name, seed) for name in names]
    rows += [_clamp_row(spilled, control, seed) for control in CONTROLS]
    return Table(COLUMNS, tuple(rows), claims(found, spilled, names, seed), NOTES, figure)


def _ablation_row(found: Sequence[Ablated], name: str, seed: int) -> Row:
    own = [each for each in found if each.dictionary == name]
    cells: dict[str, Value] = {"edit": ABLATE, "what": name}
    for column, measure in (*READOUTS.items(), ("norm", lambda each: each.norm)):
        means = list(by_position(found, measure, name).values())
        cells |= bounds(column, interval(torch.tensor(means), seed=seed))
    cells |= _variance_cells(often(own))
    cells |= {"n": len({each.position for each in own}), "edits": len(own)}
    return row_of(COLUMNS, cells)


def _variance_cells(repeated: Sequence[Ablated]) -> Row:
    """None where there are not two features to compare."""
    cells: dict[str, Value] = {}
    if len({each.feature for each in repeated}) < 2:
        return cells
    for readout, measure in READOUTS.items():
        shares = variance_shares(repeated, measure)
        for part, share in zip(("token", "feature"), shares, strict=True):
            column = f"{part}{readout.removeprefix('kl')}"
            cells |= {column: share.value, f"{column}_low": share.low, f"{column}_high": share.high}
    return cells


def _clamp_row(spilled: Sequence[Spilled], control: str, seed: int) -> Row:
    own = [each for each in spilled if each.control == control]
    cells: dict[str, Value] = {"edit": CLAMP, "what": control, "n": len(own), "edits": len(own)}
    for name in FIGURES:
        cells |= bounds(name, _over(own, name, seed))
    if densities := [each.density for each in own if each.density is not None]:
        cells |= {"density": sum(densities) / len(densities)}
        cells |= {"density_low": min(densities), "density_high": max(densities)}
    return row_of(COLUMNS, cells)


def _over(several: Sequence[Spilled], name: str, seed: int) -> Interval:
    return interval(torch.tensor([getattr(each, name) for each in several]), seed=seed)


# -- claims ----------------------------------------------------------------------------------------


def claims(
    found: Sequence[Ablated], spilled: Sequence[Spilled], names: Sequence[str], seed: int
) -> tuple[Claim, ...]:
    """names: as `tabulate` has them."""
    return (
        _position_claim(found, names[0]),
        *(_flip_claim(found, names[0], other, seed) for other in names[1:]),
        *_direction_claim(found, names, seed),
        *_spill_claims(spilled, seed),
    )


def _position_claim(found: Sequence[Ablated], trained: str) -> Claim:
    text = "the token explains more of the variance of a single feature's KL than the feature does"
    source = "reference: 67% position, 17% latent"
    repeated = often([each for each in found if each.dictionary == trained])
    if len({each.feature for each in repeated}) < 2:
        return Claim(text, source, "too few features at several tokens", None)
    position, feature = variance_shares(repeated, READOUTS["kl"])
    count = len({each.feature for each in repeated})
    measured = f"token {position}, feature {feature} of log KL, {count} features"
    return Claim(text, source, measured, position.low > feature.high)


def ratios(found: Sequence[Ablated], trained: str, other: str, seed: int) -> dict[str, Interval]:
    """Mean of each readout of the trained dictionary over that of the other, on the same tokens."""
    done = {}
    for name, measure in READOUTS.items():
        ours, theirs = (by_position(found, measure, each) for each in (trained, other))
        shared = sorted(ours.keys() & theirs.keys())
        above, below = (torch.tensor([side[p] for p in shared]) for side in (ours, theirs))
        done[name] = ratio_interval(above, below, seed=seed)
    return done


def _flip_claim(found: Sequence[Ablated], trained: str, other: str, seed: int) -> Claim:
    ratio = ratios(found, trained, other, seed)
    raw, per_norm = ratio["kl"], ratio["kl_per_norm"]
    return Claim(
        f"raw KL and KL per ‖Δx‖ rank trained features and {other} the other way round",
        "reference: 0.68 raw, 1.69 per norm",
        f"trained over {other}: KL {raw}, KL per ‖Δx‖ {per_norm}",
        (raw.high < 1 < per_norm.low) or (per_norm.high < 1 < raw.low),
    )


def _direction_claim(found: Sequence[Ablated], names: Sequence[str], seed: int) -> list[Claim]:
    """Rows of equal norm that nobody trained; the last two of the dictionaries."""
    trained, *others = names
    same = [name for name in others if name.startswith("trained encoder")]
    if not same:
        return []
    gained = {name: ratios(found, trained, name, seed)["kl"] for name in same}
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
            torch.tensor([getattr(e, name) for e in spilled if e.control == each])
            for each in ("edit", control)
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


def figure(table: Table) -> Figure:
    """Both readouts of ablating one feature at one token, by what the feature is of."""
    headings = ("KL, nats", "KL per ‖Δx‖, nats")
    chart = panels("One feature ablated at one token", headings, shared_yaxes=True)
    rows = [row for row in table.rows if row["edit"] == ABLATE]
    for column, name in enumerate(READOUTS, start=1):
        add_bars(
            *(chart, rows, "what", name, (f"{name}_low", f"{name}_high")),
            number=column - 1,
            row=1,
            col=column,
        )
    return chart.update_layout(showlegend=False)
