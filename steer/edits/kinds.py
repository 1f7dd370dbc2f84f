"""What to do to features and directions: small frozen values that compare by content.

A feature edit changes a feature's activation f, a direction edit the projection p = h·d̂ of the
residual stream on a unit direction. Both come down to the same numbers, so that nothing is
dispatched at run time (v is the edit's value at the token):

    f′ = mul · f + [v]     and then at least v (Floor…) or at most v (Cap…)

| edit                    | f′                                                                |
|-------------------------|-------------------------------------------------------------------|
| `Ablate()`              | 0; with `to="mean"` its mean over all tokens of the corpus        |
| `Clamp(v)`              | v at every touched token, active there or not                     |
| `Scale(c)`              | c · f: nothing where the feature is silent                        |
| `Add(v)`                | f + v                                                             |
| `Floor(v)`, `Cap(v)`    | max(f, v), min(f, v)                                              |
| `Patch(prompt)`         | the feature's activation at the same position of another prompt   |
| `Resample(reference)`   | its activation at a random token of a reference set               |
| `AddDirection(d, v)`    | p + v                                                             |
| `ProjectOut(d)`         | 0                                                                 |
| `ClampProjection(d, v)` | v                                                                 |
| `CapProjection(d, v)`, `FloorProjection(d, v)` | min(p, v), max(p, v)                       |

Edits of a whole subspace are in `steer.edits.subspaces`.

Three different things are called clamping in the literature. `Clamp` sets the *activation*: the
residual moves by (v − f)·d, where f is what the encoder reads (Templeton et al. 2024).
`ClampProjection` sets the *projection*: it moves by (v − h·d̂)·d̂, whatever the encoder says.
`AddDirection` adds v·d̂, whatever is there.

A value is a number (an activation, or a length along d̂), or a multiple as text: `"5x max"`,
`"2x mean"` (where it is active), `"1x q99"` of what the statistics know of the feature; `"0.5x
norm"`, with which the feature's decoder row times its activation, or the direction, has half the
residual norm at the token; `"1x vector"` of the length that a direction's source has, which is an
arbitrary one, about √d, if it is `Random`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from steer.edits.base import (
    DirectionEdit,
    Edit,
    FeatureEdit,
    Numbers,
    ValuedEdit,
    set_factor,
    set_value,
)
from steer.edits.conditions import condition_from_dict
from steer.edits.directions import direction_from_dict
from steer.edits.json import from_tagged
from steer.edits.positions import positions_from_json
from steer.edits.schedules import schedule_from_dict
from steer.edits.subspaces import (
    AblateSubspace,
    ClampSubspace,
    ScaleSubspace,
    subspace_from_dict,
)
from steer.edits.values import Value, check_int64
from steer.errors import InterventionError


@dataclass(frozen=True)
class Ablate(FeatureEdit):
    """The feature is absent: f′ = 0, or with `to="mean"` its mean over all of the corpus."""

    to: Literal["zero", "mean"] = "zero"
    kind: ClassVar[str] = "ablate"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.to not in ("zero", "mean"):
            raise InterventionError(f"to={self.to!r} is unknown; allowed: zero, mean")

    @property
    def numbers(self) -> Numbers:
        return Numbers(adds=self.to == "mean")


@dataclass(frozen=True)
class Clamp(ValuedEdit):
    """The feature is `value` at every touched token: f′ = v."""

    kind: ClassVar[str] = "clamp"

    @property
    def numbers(self) -> Numbers:
        return Numbers(adds=True)


@dataclass(frozen=True)
class Add(ValuedEdit):
    """f′ = f + value."""

    kind: ClassVar[str] = "add"

    @property
    def numbers(self) -> Numbers:
        return Numbers(mul=1.0, adds=True)


@dataclass(frozen=True)
class Floor(ValuedEdit):
    """f′ = max(f, value)."""

    kind: ClassVar[str] = "floor"

    @property
    def numbers(self) -> Numbers:
        return Numbers(mul=1.0, floors=True)


@dataclass(frozen=True)
class Cap(ValuedEdit):
    """f′ = min(f, value)."""

    kind: ClassVar[str] = "cap"

    @property
    def numbers(self) -> Numbers:
        return Numbers(mul=1.0, caps=True)


@dataclass(frozen=True)
class Scale(FeatureEdit):
    """f′ = factor · f: silent where the feature is."""

    factor: float
    kind: ClassVar[str] = "scale"

    def __post_init__(self) -> None:
        super().__post_init__()
        set_factor(self, self.factor)

    @property
    def numbers(self) -> Numbers:
        return Numbers(mul=self.factor)


@dataclass(frozen=True)
class Patch(FeatureEdit):
    """f′ = the feature's activation at the same position of another prompt.

    Positions beyond the other prompt's end are not touched.
    """

    prompt: str
    kind: ClassVar[str] = "patch"

    @property
    def numbers(self) -> Numbers:
        return Numbers(adds=True)


@dataclass(frozen=True)
class Resample(FeatureEdit):
    """f′ = the feature's activation at a random token of the reference prompts (not their first).

    The draw depends on the position and the seed alone.
    """

    reference: Sequence[str]
    seed: int = 0
    kind: ClassVar[str] = "resample"

    def __post_init__(self) -> None:
        super().__post_init__()
        listed = isinstance(self.reference, Sequence) and not isinstance(self.reference, str)
        if not listed or not self.reference:
            raise InterventionError(
                f"reference must be one or more prompts, not {self.reference!r}"
            )
        check_int64("seed", self.seed)
        object.__setattr__(self, "reference", tuple(self.reference))

    @property
    def numbers(self) -> Numbers:
        return Numbers(adds=True)


@dataclass(frozen=True)
class AddDirection(DirectionEdit):
    """p′ = p + value: adds value · d̂ to the residual."""

    value: Value = "1x vector"
    kind: ClassVar[str] = "add_direction"

    def __post_init__(self) -> None:
        super().__post_init__()
        set_value(self, self.value)

    @property
    def numbers(self) -> Numbers:
        return Numbers(mul=1.0, adds=True)


@dataclass(frozen=True)
class ProjectOut(DirectionEdit):
    """p′ = 0: the residual has no component along d̂."""

    kind: ClassVar[str] = "project_out"

    @property
    def numbers(self) -> Numbers:
        return Numbers()


@dataclass(frozen=True)
class ClampProjection(DirectionEdit):
    """p′ = value: sets the residual's component along d̂."""

    value: Value
    kind: ClassVar[str] = "clamp_projection"

    def __post_init__(self) -> None:
        super().__post_init__()
        set_value(self, self.value)

    @property
    def numbers(self) -> Numbers:
        return Numbers(adds=True)


@dataclass(frozen=True)
class CapProjection(DirectionEdit):
    """p′ = min(p, value): acts only where the residual's component along d̂ is larger.

    With the direction of a persona, persona capping (Lu et al. 2026, The Assistant Axis).
    """

    value: Value
    kind: ClassVar[str] = "cap_projection"

    def __post_init__(self) -> None:
        super().__post_init__()
        set_value(self, self.value)

    @property
    def numbers(self) -> Numbers:
        return Numbers(mul=1.0, caps=True)


@dataclass(frozen=True)
class FloorProjection(DirectionEdit):
    """p′ = max(p, value): acts only where the residual's component along d̂ is smaller."""

    value: Value
    kind: ClassVar[str] = "floor_projection"

    def __post_init__(self) -> None:
        super().__post_init__()
        set_value(self, self.value)

    @property
    def numbers(self) -> Numbers:
        return Numbers(mul=1.0, floors=True)


_FEATURE_EDITS = (Ablate, Clamp, Scale, Add, Floor, Cap, Patch, Resample)
_DIRECTION_EDITS = (AddDirection, ProjectOut, ClampProjection, CapProjection, FloorProjection)
_SUBSPACE_EDITS = (AblateSubspace, ScaleSubspace, ClampSubspace)
KINDS: dict[str, type[Edit]] = {
    cls.kind: cls for cls in (*_FEATURE_EDITS, *_DIRECTION_EDITS, *_SUBSPACE_EDITS)
}
_PARSERS = {
    "when": condition_from_dict,
    "schedule": schedule_from_dict,
    "direction": direction_from_dict,
    "subspace": subspace_from_dict,
    "positions": positions_from_json,
}


def edit_from_dict(data: dict[str, Any]) -> Edit:
    """Inverse of `Edit.to_dict`; unknown kinds and keys are refused by name."""
    return from_tagged(data, KINDS, "edit", _PARSERS)
