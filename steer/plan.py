"""Lowering: interventions -> the tensors that the splice needs, checked against model and site.

Everything that can be wrong with an edit is found here, before the model runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import combinations

import torch
from torch import Tensor

from dictionaries.base import Dictionary
from steer.edits import Edit, Intervention, parse_value
from steer.errors import InterventionError
from steer.hookpoints import Site
from steer.positions import Span, canonical, select


@dataclass(frozen=True, eq=False)
class SitePlan:
    """All edits of one dictionary at one site; k edits.

    dictionary: restricted to the edited features, or whole where it is not separable.
    columns: where the edited features are among the dictionary's features, [k].
    W_dec: their decoder rows [k, d].
    mul, add, lo, hi: [k] each, in activation units.
    rows: the batch rows that are edited.
    drop_error: replace the site by the edited reconstruction.
    """

    site: Site
    dictionary: Dictionary
    columns: Tensor
    W_dec: Tensor
    mul: Tensor
    add: Tensor
    lo: Tensor
    hi: Tensor
    edits: tuple[Edit, ...]
    rows: slice = field(default_factory=lambda: slice(None))
    drop_error: bool = False

    def mask(self, span: Span) -> Tensor:
        """Which tokens of the span each edit touches, [b, s, k]."""
        masks = [select(canonical(edit.positions), span) for edit in self.edits]
        return torch.stack(masks, dim=-1)


def lower(
    intervention: Intervention,
    dictionary: Dictionary,
    site: Site,
    *,
    rows: slice = slice(None),
    device: torch.device | str = "cpu",
) -> SitePlan:
    """The plan of one intervention.

    Raises `InterventionError` for no edits, or two edits of one feature that can touch the same
    token; `DictionaryError` for a feature out of range or a multiple of an unknown maximum.
    """
    edits = tuple(intervention.edits)
    if not edits and intervention.error == "keep":
        raise InterventionError("the intervention has no edits; give at least one, such as Clamp")
    features = [edit.feature for edit in edits]
    dictionary.check_features(features)
    _refuse_conflicts(edits)
    drop = intervention.error == "drop"
    moved = dictionary.to(device=device, dtype=torch.float32)
    whole = drop or not dictionary.separable
    used = moved if whole else moved.restrict(features)
    columns = torch.tensor(features if whole else range(len(features)), device=device).long()
    numbers = torch.tensor([_affine(edit, dictionary) for edit in edits], device=device)
    mul, add, lo, hi = numbers.view(-1, 4).unbind(-1)
    return SitePlan(
        site=site,
        dictionary=used,
        columns=columns,
        W_dec=used.W_dec[columns],
        mul=mul,
        add=add,
        lo=lo,
        hi=hi,
        edits=edits,
        rows=rows,
        drop_error=drop,
    )


def _affine(edit: Edit, dictionary: Dictionary) -> tuple[float, float, float, float]:
    return edit.affine(asked_value(edit, dictionary))


def asked_value(edit: Edit, dictionary: Dictionary) -> float:
    """The edit's value in activation units; 0 for edits that have none."""
    value = getattr(edit, "value", None)
    if value is None:
        return 0.0
    dose = parse_value(value)
    if dose.unit == "activation":
        return dose.amount
    if dictionary.statistics is None:
        raise InterventionError(
            f"{dictionary.name} has no statistics, so {value!r} of feature {edit.feature} is "
            "unknown; give the value as an activation"
        )
    return dose.amount * dictionary.statistics.value(edit.feature, dose.unit)


def _refuse_conflicts(edits: Sequence[Edit]) -> None:
    for one, other in combinations(edits, 2):
        if one.feature == other.feature and _may_overlap(one.positions, other.positions):
            raise InterventionError(
                f"feature {one.feature} has two edits that can touch the same token "
                f"({one.kind} at {one.positions!r}, {other.kind} at {other.positions!r}); "
                "all edits read the same clean activation, so one of them would be lost: "
                "give them separate positions or keep one"
            )


def _may_overlap(one: object, other: object) -> bool:
    """False only where the two can be told apart without knowing the prompt."""
    exact = [_exact(positions) for positions in (one, other)]
    if None in exact:
        return True
    return not set(exact[0] or ()).isdisjoint(exact[1] or ())


def _exact(positions: object) -> tuple[int, ...] | None:
    places = (positions,) if isinstance(positions, int) else positions
    if isinstance(places, tuple) and all(place >= 0 for place in places):
        return places
    return None
