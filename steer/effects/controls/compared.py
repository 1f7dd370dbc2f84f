"""What an edit's effects are compared with: its ‖Δ‖ at the same tokens, along other directions.

random: directions drawn anew for every prompt. matched: decoder rows of features about as dense as
the edited ones, where a feature is edited; the same on all prompts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from dictionaries.dictionary import Dictionary
from steer.edits import FeatureEdit, Intervention
from steer.effects.controls.matching import Matched, matched_features
from steer.effects.controls.trials import Trial, matched_trials, random_trials
from steer.effects.passes.edited import EditedPrompt
from steer.errors import SteerError
from steer.maths.statistics import benjamini_hochberg, exceeds
from steer.model import Model
from steer.splice.resolve import by_name

KINDS = ("random", "matched")
_ROWS = 8
"""Controls that run together."""


@dataclass(frozen=True, eq=False)
class Equals:
    """draws of each kind a prompt; dictionary: of the `edited` features, None without any."""

    dictionary: Dictionary | None
    edited: tuple[int, ...]
    draws: int
    seed: int

    @classmethod
    def of(
        cls,
        model: Model,
        intervention: Intervention,
        dictionaries: Sequence[Dictionary],
        draws: int,
        seed: int,
    ) -> Equals:
        """Raises `SteerError` for a negative number of draws."""
        if draws < 0:
            raise SteerError(f"draws={draws} is not allowed: 0 or more")
        edited = tuple(e.feature for e in intervention.edits if isinstance(e, FeatureEdit))
        given = by_name(dictionaries)
        whole = model.dictionary_of(intervention, given) if edited and draws else None
        return cls(whole, edited, draws, seed)

    def match(self, prompt: EditedPrompt) -> Matched | None:
        """The features to compare with on all prompts, chosen on the first one."""
        if self.dictionary is None:
            return None
        return matched_features(prompt.clean, self.dictionary, self.edited, self.draws, self.seed)

    def trials(self, prompt: EditedPrompt, matched: Matched | None) -> list[Trial]:
        """The controls on a prompt, the random ones first."""
        if not self.draws:
            return []
        drawn = random_trials(prompt.delta, self.draws, self.seed * 2**12 + prompt.number)
        if self.dictionary is None or matched is None:
            return drawn
        return drawn + matched_trials(prompt.delta, self.dictionary, matched.others, prompt.sign)


def parts(trials: Sequence[Trial]) -> Iterator[Tensor]:
    """Δ of a few controls at once, [b, s, d]."""
    for start in range(0, len(trials), _ROWS):
        yield torch.stack([trial.delta for trial in trials[start : start + _ROWS]])


def by_kind(trials: Sequence[Trial], values: Tensor) -> dict[str, Tensor]:
    """values [trials, ...] as one tensor [draws, ...] a kind."""
    places = {
        kind: [n for n, trial in enumerate(trials) if trial.control == kind] for kind in KINDS
    }
    return {kind: values[index] for kind, index in places.items() if index}


def columns(effects: Tensor, controls: Mapping[str, Tensor], rate: float) -> dict[str, Tensor]:
    """How effects [m, n] on n prompts compare with controls [m, n, draws] of each kind.

    A kind's name: the mean |effect| of its draws; p_ and q_ with it: that the effect is no larger
    (see `exceeds`), alone and corrected for all m; significant: q is at most `rate` for every kind.
    """
    column_of, passed = dict[str, Tensor](), []
    for kind, values in controls.items():
        p = exceeds(effects, values)
        q = benjamini_hochberg(p)
        column_of |= {kind: values.abs().mean((1, 2)), f"p_{kind}": p, f"q_{kind}": q}
        passed.append(q <= rate)
    return column_of | ({"significant": torch.stack(passed).all(0)} if passed else {})


def said(matched: Matched | None) -> dict[str, Any] | None:
    """Plain data: how near the matched features are, in density."""
    if matched is None or not matched.others:
        return None
    near = [other.density for other in matched.others]
    mean = sum(near) / len(near)
    ends = {"control_density_low": min(near), "control_density_high": max(near)}
    return {"density": matched.density, "control_density": mean, **ends, "features": len(near)}
