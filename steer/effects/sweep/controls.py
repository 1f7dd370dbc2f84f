"""Which features of a sweep do more than anything of their size would: controls, one a feature.

A feature's control has its Δ's norm at every position of every prompt, along a random direction
or along the decoder rows of features about as dense (Korznikov 2026: random directions match
trained dictionaries in many causal tests). Directions are drawn anew for every prompt and feature.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from dictionaries.dictionary import Dictionary
from steer.effects.controls.matching import Matched, matched_features
from steer.effects.controls.trials import matched_trials, random_trials
from steer.effects.sweep.prepared import Deltas, Prepared
from steer.errors import SteerError

KINDS = ("random", "matched")


class InBatches(Protocol):
    """Runs sets of edits: some of them and their effects [b, draws] at a time."""

    def __call__(
        self, sets: Sequence[tuple[int, ...]], *, deltas: Deltas, draws: int
    ) -> Iterator[tuple[list[tuple[int, ...]], Tensor]]: ...


@dataclass(frozen=True)
class Against:
    """What sweeps compare a feature with.

    kind: `random` or `matched`; draws: how many controls a prompt and feature.
    tested: how many features are compared, those with the largest mean |effect|. The others get
        p = 1, so that the choice costs power and never validity.
    """

    kind: str = "random"
    draws: int = 4
    tested: int = 50
    seed: int = 0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise SteerError(f"kind={self.kind!r} is unknown; allowed: {', '.join(KINDS)}")
        for name in ("draws", "tested"):
            if getattr(self, name) < 1:
                raise SteerError(f"{name}={getattr(self, name)} is not allowed: 1 or more")


def matches(
    ready: Prepared, dictionary: Dictionary, index: int, against: Against
) -> Matched | None:
    """The features to compare one with; None for random directions.

    Raises `SteerError` if there are fewer than the draws.
    """
    if against.kind == "random":
        return None
    feature = ready.features[index]
    seed = _seed(ready, index, against)
    matched = matched_features(ready.clean, dictionary, [feature], against.draws, seed)
    count = len(matched.others) if matched else 0
    if count < against.draws:
        raise SteerError(f"only {count} features are like feature {feature}; ask for fewer draws")
    return matched


def control_deltas(
    ready: Prepared, dictionary: Dictionary, index: int, against: Against, matched: Matched | None
) -> Tensor:
    """Δ [draws, s, d] of a feature's controls on a prompt; matched: what `matches` gave."""
    (delta,) = ready.deltas([(index,)])
    if matched is None:
        trials = random_trials(delta, against.draws, _seed(ready, index, against))
    else:
        sign = 1.0 if ready.changes.amount[:, index].sum() >= 0 else -1.0
        trials = matched_trials(delta, dictionary, matched.others, sign)
    return torch.stack([trial.delta for trial in trials])


def control_rows(
    ready: Prepared,
    dictionary: Dictionary,
    against: Against,
    effects_of: InBatches,
) -> list[dict[str, Any]]:
    """One row a draw of each feature that acts on the prompt.

    effects_of: runs sets of edits with other deltas, see `Asked.effects`.
    A matched control's has `like`, its feature, `like_density`, and `density`, the tested one's.
    """
    sets = [(i,) for i in ready.acting()]
    matched = {i: matches(ready, dictionary, i, against) for (i,) in sets}

    def deltas(batch: Sequence[tuple[int, ...]]) -> Tensor:
        return torch.cat(
            [control_deltas(ready, dictionary, i, against, matched[i]) for (i,) in batch]
        )

    rows = []
    for batch, effects in effects_of(sets, deltas=deltas, draws=against.draws):
        for (i,), several in zip(batch, effects.tolist(), strict=True):
            for draw, effect in enumerate(several):
                where = {"prompt": ready.number, "feature": ready.features[i], "draw": draw}
                rows.append({**where, "control": effect, **_said(matched[i], draw)})
    return rows


def _said(matched: Matched | None, draw: int) -> dict[str, Any]:
    if matched is None:
        return {}
    like = matched.others[draw]
    return {"density": matched.density, "like": like.feature, "like_density": like.density}


def _seed(ready: Prepared, index: int, against: Against) -> int:
    return (against.seed * 2**20 + ready.features[index]) * 2**12 + ready.number
