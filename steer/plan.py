"""Lowering: interventions -> the tensors that the splice needs, checked against model and site.

Everything that can be wrong with an edit is found here, before the model runs.

The splice works on *targets*: the features and directions that are edited or asked about. Each has
a reading (an activation, or a projection) and a row of `W_dec` that it writes. An edit points at
its target; several edits may share one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations

import torch
from torch import Tensor

from dictionaries.base import Dictionary
from steer.conditions import Condition, Leaf
from steer.directions import Direction
from steer.edits import Ablate, DirectionEdit, Edit, FeatureEdit, Intervention, Patch, Resample
from steer.errors import InterventionError
from steer.hookpoints import Site
from steer.positions import Canonical, Span, canonical, resolve, select
from steer.values import Dose, parse_value


@dataclass(frozen=True, eq=False)
class Sources:
    """What lowering may ask of the model.

    activations: prompts -> x [s, d] of each at the intervention's site.
    direction: a direction's source -> its vector [d].
    token_id: a token's text -> its id.
    """

    activations: Callable[[Sequence[str]], list[Tensor]]
    direction: Callable[[Direction], Tensor]
    token_id: Callable[[str], int]


@dataclass(frozen=True, eq=False)
class LoweredEdit:
    """One edit, ready to run.

    target: index among the plan's targets.
    amount, per_norm: value = amount + per_norm · ‖x‖ / ‖W_dec[target]‖.
    table: values by absolute position [t] instead, NaN where the edit does not act.
    """

    edit: Edit
    target: int
    positions: Canonical
    amount: float
    per_norm: float
    table: Tensor | None
    leaves: dict[Leaf, int]

    def value(self, norm: Tensor, row_norm: Tensor, span: Span) -> Tensor | float:
        """The edit's value at each token: a number, or [b, s]."""
        if self.table is not None:
            return self.table[span.absolute.clamp(min=0, max=len(self.table) - 1)]
        if self.per_norm:
            return self.amount + self.per_norm * norm / row_norm[self.target]
        return self.amount


@dataclass(frozen=True, eq=False)
class SitePlan:
    """One intervention at its site.

    site, out: where it reads and where it writes; the same but for transcoders.
    dictionary: restricted to the features needed, or whole; None for direction edits alone.
    columns: where the feature targets are among the dictionary's features, [n].
    directions: unit direction targets [k, d], after the features.
    W_dec: what each target writes [n + k, d].
    rows: the batch rows that are edited; clean: those of the same texts without edits, for the
        frozen error.
    error: keep, frozen or drop.
    """

    site: Site
    out: Site
    dictionary: Dictionary | None
    columns: Tensor
    directions: Tensor
    W_dec: Tensor
    edits: tuple[LoweredEdit, ...]
    rows: slice = field(default_factory=lambda: slice(None))
    clean: slice | None = None
    error: str = "keep"

    @property
    def row_norm(self) -> Tensor:
        """‖W_dec‖ of each target, [n + k]."""
        return self.W_dec.norm(dim=-1)

    @property
    def leaves(self) -> dict[Leaf, int]:
        """Conditions on features, and the target that each looks at."""
        return {leaf: target for edit in self.edits for leaf, target in edit.leaves.items()}

    def touched(self, span: Span) -> list[Tensor]:
        """For each edit, mask [b, s] of the tokens that its positions mean."""
        return [select(edit.positions, span) for edit in self.edits]


def lower(
    intervention: Intervention,
    dictionary: Dictionary | None,
    site: Site,
    out: Site,
    sources: Sources,
    *,
    rows: slice,
    clean: slice | None = None,
    device: torch.device | str = "cpu",
) -> SitePlan:
    """The plan of one intervention.

    Raises `InterventionError` for no edits, conflicting edits, or an edit that needs what is not
    there; `DictionaryError` for a feature out of range or a multiple of an unknown maximum.
    """
    edits = tuple(intervention.edits)
    _check(intervention, dictionary, clean)
    moved = None if dictionary is None else _bare(dictionary).to(device, torch.float32)
    features = _features(edits)
    if moved is not None:
        moved.check_features(features)
    whole = moved is not None and (intervention.error != "keep" or not moved.separable)
    used = moved if moved is None or whole else moved.restrict(features)
    columns = torch.tensor(features if whole else range(len(features)), device=device).long()
    sources_of = list(dict.fromkeys(e.direction for e in edits if isinstance(e, DirectionEdit)))
    vectors = [sources.direction(source).float().to(device) for source in sources_of]
    rows_of = [vector / vector.norm() for vector in vectors]
    feature_rows = [] if used is None else [used.W_dec[columns]]
    d = vectors[0].shape[0] if used is None else used.W_dec.shape[1]
    directions = torch.stack(rows_of) if rows_of else torch.zeros(0, d, device=device)
    if directions.shape[1] != d:
        raise InterventionError(f"a direction has {directions.shape[1]} numbers, the site {d}")
    place = {feature: number for number, feature in enumerate(features)}
    lengths = {s: v.norm().item() for s, v in zip(sources_of, vectors, strict=True)}

    def lowered(edit: Edit) -> LoweredEdit:
        if isinstance(edit, DirectionEdit):
            target = len(features) + sources_of.index(edit.direction)
            dose = _scaled(edit, {"vector": lengths[edit.direction]}.get)
        else:
            assert isinstance(edit, FeatureEdit)
            target, dose = place[edit.feature], _scaled(edit, _statistic(edit, dictionary))
        return LoweredEdit(
            edit=edit,
            target=target,
            positions=resolve(canonical(edit.positions), sources.token_id),
            amount=0.0 if dose.unit == "norm" else dose.amount,
            per_norm=dose.amount if dose.unit == "norm" else 0.0,
            table=_table(edit, moved, sources, device),
            leaves={leaf: place[leaf.feature] for leaf in _leaves(edit.when)},
        )

    return SitePlan(
        site=site,
        out=out,
        dictionary=used,
        columns=columns,
        directions=directions,
        W_dec=torch.cat([*feature_rows, directions]),
        edits=tuple(lowered(edit) for edit in edits),
        rows=rows,
        clean=clean,
        error=intervention.error,
    )


def _bare(dictionary: Dictionary) -> Dictionary:
    """Weights alone: a plan may travel to a server."""
    return replace(dictionary, card=None, statistics=None)


# -- values ------------------------------------------------------------------------------------


def _scaled(edit: Edit, unit_length: Callable[[str], float | None]) -> Dose:
    """The edit's value in activation, or in multiples of the residual norm."""
    if isinstance(edit, Ablate):
        mean = unit_length("corpus mean") if edit.to == "mean" else 0.0
        return Dose(mean or 0.0, "activation")
    value = getattr(edit, "value", None)
    if value is None:
        return Dose(0.0, "activation")
    dose = parse_value(value)
    if dose.unit in ("activation", "norm"):
        return dose
    return Dose(dose.amount * (unit_length(dose.unit) or 0.0), "activation")


def _statistic(edit: FeatureEdit, dictionary: Dictionary | None) -> Callable[[str], float | None]:
    def look_up(unit: str) -> float:
        assert dictionary is not None
        if dictionary.statistics is None:
            raise InterventionError(
                f"{dictionary.name or 'the dictionary'} has no statistics, so the {unit} of "
                f"feature {edit.feature} is unknown; give the value as an activation"
            )
        return dictionary.statistics.value(edit.feature, unit)

    return look_up


def _table(
    edit: Edit, dictionary: Dictionary | None, sources: Sources, device: torch.device | str
) -> Tensor | None:
    """Values by position of edits that take them from other texts."""
    if not isinstance(edit, Patch | Resample):
        return None
    assert dictionary is not None
    prompts = (edit.prompt,) if isinstance(edit, Patch) else tuple(edit.reference)
    found = [
        dictionary.encode(x.to(device))[0][:, edit.feature] for x in sources.activations(prompts)
    ]
    if isinstance(edit, Patch):
        return torch.cat([found[0], torch.tensor([torch.nan], device=device)])
    pool = torch.cat([each[1:] for each in found])
    if not len(pool):
        raise InterventionError("the reference prompts have no token after their first one")
    generator = torch.Generator().manual_seed(edit.seed)
    draws = torch.randint(len(pool), (65_536,), generator=generator)
    return pool[draws.to(device)]


# -- checks ------------------------------------------------------------------------------------


def _check(intervention: Intervention, dictionary: Dictionary | None, clean: slice | None) -> None:
    edits = tuple(intervention.edits)
    if not edits and intervention.error == "keep":
        raise InterventionError("the intervention has no edits; give at least one, such as Clamp")
    if dictionary is None:
        needing = [e.kind for e in edits if isinstance(e, FeatureEdit) or e.when is not None]
        if needing or intervention.error != "keep":
            raise InterventionError(
                f"{intervention.dictionary!r} is a hookpoint, and {', '.join(needing) or 'error'} "
                "needs a dictionary; name one instead"
            )
    if intervention.error == "frozen" and clean is None:
        raise InterventionError(
            "error='frozen' takes the error from the clean run at the same tokens, which a "
            "generation does not have: use it with logit_effect"
        )
    if intervention.conflicts == "refuse":
        _refuse_conflicts(edits)


def _refuse_conflicts(edits: Sequence[Edit]) -> None:
    for one, other in combinations(edits, 2):
        if one.target == other.target and _may_overlap(one.positions, other.positions):
            raise InterventionError(
                f"{_named(one)} has two edits that can touch the same token ({one.kind} at "
                f"{one.positions!r}, {other.kind} at {other.positions!r}); all edits read the same "
                "clean activation, so one of them would be lost: give them separate positions, "
                "keep one, or say conflicts='in_order'"
            )


def _named(edit: Edit) -> str:
    return f"feature {edit.target}" if isinstance(edit, FeatureEdit) else f"{edit.target}"


def _may_overlap(one: object, other: object) -> bool:
    """False only where the two can be told apart without knowing the prompt."""
    first, second = _exact(one), _exact(other)
    return first is None or second is None or not set(first).isdisjoint(second)


def _exact(positions: object) -> tuple[int, ...] | None:
    places = (positions,) if isinstance(positions, int) else positions
    if isinstance(places, tuple) and all(place >= 0 for place in places):
        return places
    return None


def _leaves(when: Condition | None) -> tuple[Leaf, ...]:
    return () if when is None else when.leaves()


def _features(edits: Sequence[Edit]) -> list[int]:
    """Every feature that is edited or asked about, once each."""
    edited = [edit.feature for edit in edits if isinstance(edit, FeatureEdit)]
    asked = [leaf.feature for edit in edits for leaf in _leaves(edit.when)]
    return list(dict.fromkeys([*edited, *asked]))
