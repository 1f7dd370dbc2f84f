"""Lowering: interventions -> the tensors that the splice needs, checked against model and site.

Everything that can be wrong with an edit is found here, before the model runs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import torch
from torch import Tensor

from dictionaries.dictionary import Dictionary
from steer.edits import (
    Ablate,
    DirectionEdit,
    Edit,
    FeatureEdit,
    Intervention,
    Patch,
    Resample,
    SubspaceEdit,
)
from steer.edits.conditions import Condition, Leaf
from steer.edits.conflicts import refuse_conflicts, refuse_opposite
from steer.edits.directions import Direction
from steer.edits.positions import canonical, refuse_other_rows, resolve
from steer.edits.values import Dose, parse_value
from steer.errors import InterventionError
from steer.features.activations import encode
from steer.lm.anatomy import Site
from steer.maths.precision import compute_dtype
from steer.splice.plan import LaterSite, LoweredEdit, SitePlan
from steer.splice.spanned import distinct_subspaces, refuse_inside, spanned

_ALIKE = 1e-5
"""How far apart the tips of two unit directions are that differ by rounding."""


@dataclass(frozen=True, eq=False)
class Sources:
    """What lowering may ask of the model.

    activations: prompts -> x [s, d] of each at the intervention's site.
    direction: a direction's source -> its vector [d].
    token_id: a token's text or id -> its id, checked.
    """

    activations: Callable[[Sequence[str]], list[Tensor]]
    direction: Callable[[Direction], Tensor]
    token_id: Callable[[str | int], int]


def lower(
    intervention: Intervention,
    dictionary: Dictionary | None,
    site: Site,
    out: Site,
    sources: Sources,
    *,
    rows: slice,
    clean: slice | None = None,
    later: Sequence[Site] = (),
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> SitePlan:
    """The plan of one intervention, for a model of this dtype on this device.

    later: where else the dictionary's features write.
    Raises `InterventionError` for no edits, conflicting edits, or an edit that needs what is not
    there; `DictionaryError` for a feature out of range or a multiple of an unknown maximum.
    """
    edits, dtype = tuple(intervention.edits), compute_dtype(dtype)
    _check(intervention, dictionary, clean)
    _check_rows(edits, rows)
    moved = None if dictionary is None else _bare(dictionary).to(device, dtype)
    features = _features(edits)
    if moved is not None:
        moved.check_features(features)
    whole = moved is not None and (intervention.error != "keep" or not moved.separable)
    used = moved if moved is None or whole else replace(moved.restrict(features), W_skip=None)
    columns = torch.tensor(features if whole else range(len(features)), device=device).long()
    sources_of = list(dict.fromkeys(e.direction for e in edits if isinstance(e, DirectionEdit)))
    vectors = {source: sources.direction(source).to(dtype).to(device) for source in sources_of}
    spans = list(dict.fromkeys(e.subspace for e in edits if isinstance(e, SubspaceEdit)))
    rows_of = {span: spanned(span, sources.direction).to(device, dtype) for span in spans}
    d = _width(used, [*vectors.values(), *rows_of.values()])
    for vector in vectors.values():
        if vector.shape != (d,):
            raise InterventionError(f"a direction has {len(vector)} numbers, the site {d}")
    lengths = {source: vector.norm().item() for source, vector in vectors.items()}
    units = {source: vector / lengths[source] for source, vector in vectors.items()}
    distinct, number_of = _distinct(units)
    subspaces, subspace_of = distinct_subspaces(rows_of)
    nothing = torch.zeros(0, d, dtype=dtype, device=device)
    feature_rows = nothing if used is None else used.W_dec[columns]
    directions = torch.stack(distinct) if distinct else nothing
    place = {feature: number for number, feature in enumerate(features)}

    def lowered(edit: Edit) -> LoweredEdit:
        if isinstance(edit, DirectionEdit):
            target = len(features) + number_of[edit.direction]
            dose = _scaled(edit, {"vector": lengths[edit.direction]}.get)
        elif isinstance(edit, SubspaceEdit):
            target = len(features) + len(directions) + subspace_of[edit.subspace]
            dose = _scaled(edit, lambda unit: None)
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

    plan = SitePlan(
        site=site,
        out=out,
        dictionary=None if used is None else replace(used, later=None),
        columns=columns,
        directions=directions,
        W_dec=torch.cat([feature_rows, directions, nothing.new_zeros(len(subspaces), d)]),
        edits=tuple(lowered(edit) for edit in edits),
        rows=rows,
        clean=clean,
        error=intervention.error,
        later=() if used is None else _later(used, columns, later),
        subspaces=subspaces,
    )
    _refuse_conflicts(plan, intervention.conflicts)
    return plan


def _width(dictionary: Dictionary | None, vectors: Sequence[Tensor]) -> int:
    return vectors[0].shape[-1] if dictionary is None else dictionary.W_dec.shape[1]


def alike(ones: Tensor, others: Tensor) -> list[list[bool]]:
    """Which unit directions [n, d] are the same as which others [m, d], to rounding."""
    apart = torch.cdist(ones, others, compute_mode="donot_use_mm_for_euclid_dist")
    same: list[list[bool]] = (apart < _ALIKE).tolist()
    return same


def _distinct(units: dict[Direction, Tensor]) -> tuple[list[Tensor], dict[Direction, int]]:
    """Each direction once, and which one a source gives: `Vector(d)` and `Vector(2d)` are one."""
    if not units:
        return [], {}
    stacked = torch.stack(list(units.values()))
    first = [row.index(True) for row in alike(stacked, stacked)]
    distinct = list(dict.fromkeys(first))
    number_of = {source: distinct.index(own) for source, own in zip(units, first, strict=True)}
    return [stacked[own] for own in distinct], number_of


def _refuse_conflicts(plan: SitePlan, policy: str) -> None:
    opposite, n = alike(plan.directions, -plan.directions), len(plan.columns)
    if any(map(any, opposite)):
        for one, other in combinations(plan.direction_edits, 2):
            if opposite[one.target - n][other.target - n]:
                refuse_opposite(one, other)
    refuse_inside(plan, plan)
    if policy == "refuse":
        refuse_conflicts(plan.edits)


def _later(dictionary: Dictionary, columns: Tensor, sites: Sequence[Site]) -> tuple[LaterSite, ...]:
    if dictionary.later is None:
        return ()
    rows = dictionary.later.W_dec[columns].unbind(1)
    return tuple(LaterSite(site, row) for site, row in zip(sites, rows, strict=True))


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
                f"feature {edit.feature} is unknown; measure them with `steer statistics`, or give "
                "the value as an activation"
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
    values = [
        encode(dictionary, x.to(device))[:, edit.feature] for x in sources.activations(prompts)
    ]
    if isinstance(edit, Patch):
        return torch.cat([values[0], torch.tensor([torch.nan], device=device)])
    pool = torch.cat([table[1:] for table in values])
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
    elif dictionary.is_transcoder:
        _refuse_one_site_edits(edits, dictionary)
    if dictionary is not None and _crosses_layers(dictionary) and intervention.error != "keep":
        raise InterventionError(
            f"error={intervention.error!r} is of a site that one dictionary explains, and "
            f"{dictionary.name or 'the dictionary'} is a block of a cross-layer transcoder, "
            "several of which write each site; use error='keep'"
        )
    if dictionary is not None and _copies(dictionary) and intervention.error != "keep":
        raise InterventionError(
            f"error={intervention.error!r} is of what a dictionary does not explain, and "
            f"{dictionary.name or 'the dictionary'} adds a linear map of its input to what it "
            "writes at the same site, which carries the error on; use error='keep'"
        )
    if intervention.error == "frozen" and clean is None:
        raise InterventionError(
            "error='frozen' takes the error from the clean run at the same tokens, which a "
            "generation does not have: use it with logit_effect"
        )


def _crosses_layers(dictionary: Dictionary) -> bool:
    return dictionary.config.partial or dictionary.later is not None


def _copies(dictionary: Dictionary) -> bool:
    """Whether it has a linear part, and writes where it reads."""
    return dictionary.W_skip is not None and not dictionary.is_transcoder


def _check_rows(edits: Sequence[Edit], rows: slice) -> None:
    """Positions by row need a batch of which it is known how many rows it has."""
    count = None if rows.stop is None else len(range(rows.stop)[rows])
    for edit in edits:
        refuse_other_rows(canonical(edit.positions), count)


def _refuse_one_site_edits(edits: Sequence[Edit], dictionary: Dictionary) -> None:
    """A transcoder reads one site and writes another, so what is of one site alone is refused."""
    name, out = dictionary.name or "the dictionary", dictionary.config.hookpoint_out
    for edit in edits:
        if isinstance(edit, DirectionEdit | SubspaceEdit):
            raise InterventionError(
                f"{edit.kind} reads and writes the same site, and {name} is a transcoder: give it "
                f"in an intervention of its own on the hookpoint {out!r}"
            )
        if parse_value(getattr(edit, "value", 0.0)).unit == "norm":
            raise InterventionError(
                f"value {getattr(edit, 'value', None)!r}: {name} is a transcoder, and the norm of "
                "what it writes to is not known when it reads; give an activation or '2x max'"
            )


def _leaves(when: Condition | None) -> tuple[Leaf, ...]:
    return () if when is None else when.leaves()


def _features(edits: Sequence[Edit]) -> list[int]:
    """Every feature that is edited or asked about, once each."""
    edited = [edit.feature for edit in edits if isinstance(edit, FeatureEdit)]
    asked = [leaf.feature for edit in edits for leaf in _leaves(edit.when)]
    return list(dict.fromkeys([*edited, *asked]))
