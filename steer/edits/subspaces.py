"""Subspaces of the stream, and edits of how long its part inside one is.

A feature may be gone when a dictionary is trained again with another seed, while the subspace that
it lives in is found again. With P the projection on the subspace and r = ‖Px‖ the length of the
stream's part inside it, an edit makes r another length r′ and leaves the part's direction as it is:

    x′ = x + (r′ − r) · Px / r

| edit                    | r′                                                               |
|-------------------------|------------------------------------------------------------------|
| `AblateSubspace(S)`     | 0: x′ = x − Px                                                   |
| `ScaleSubspace(S, c)`   | c · r: x′ = x + (c − 1)·Px                                       |
| `ClampSubspace(S, v)`   | v, a length in the stream's own units, or `"0.5x norm"`          |

Where the stream has no part in the subspace (r = 0) nothing changes: there is no direction to
stretch. Two lists of directions that span the same space are one target.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from steer.edits.base import Edit, Numbers, set_factor, set_value
from steer.edits.directions import Direction, Vector, direction_from_dict
from steer.edits.json import from_tagged
from steer.edits.values import Value, parse_value
from steer.errors import InterventionError


@dataclass(frozen=True)
class Subspace:
    """The span of some directions at a site, made orthonormal when the edit is lowered.

    spans: directions such as `DecoderRow(name, 7)` or `Vector(numbers)`; rows of numbers [k, d], a
        tensor too, are taken as vectors. They must be independent.
    """

    spans: Sequence[Direction]
    kind: ClassVar[str] = "subspace"

    def __post_init__(self) -> None:
        spans = getattr(self.spans, "tolist", lambda: self.spans)()
        if isinstance(spans, str | Direction) or not isinstance(spans, Sequence) or not spans:
            raise InterventionError(
                f"a subspace is the span of one or more directions in a list, not {spans!r}"
            )
        rows = tuple(span if isinstance(span, Direction) else _vector(span) for span in spans)
        object.__setattr__(self, "spans", rows)

    def __repr__(self) -> str:
        first = ", ".join(map(repr, self.spans[:2]))
        more = f", … {len(self.spans) - 2} more" if len(self.spans) > 2 else ""
        return f"Subspace({first}{more})"

    def to_dict(self) -> dict[str, Any]:
        return {"kind": self.kind, "spans": [span.to_dict() for span in self.spans]}


def _vector(row: Any) -> Vector:
    if isinstance(row, str) or not isinstance(row, Sequence):
        raise InterventionError(
            f"{row!r} is no direction such as Vector([…]), nor a row of numbers"
        )
    return Vector(row)


@dataclass(frozen=True)
class SubspaceEdit(Edit):
    """An edit of the length of the stream's part inside a subspace."""

    subspace: Subspace
    units: ClassVar[tuple[str, ...]] = ("activation", "norm")

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.subspace, Subspace):
            raise InterventionError(
                f"{self.subspace!r} is no subspace such as Subspace([Vector([…]), Vector([…])])"
            )

    @property
    def target(self) -> object:
        return self.subspace


@dataclass(frozen=True)
class AblateSubspace(SubspaceEdit):
    """r′ = 0: the stream has no part in the subspace."""

    kind: ClassVar[str] = "ablate_subspace"

    @property
    def numbers(self) -> Numbers:
        return Numbers()


@dataclass(frozen=True)
class ScaleSubspace(SubspaceEdit):
    """r′ = factor · r; a negative factor turns the part round."""

    factor: float
    kind: ClassVar[str] = "scale_subspace"

    def __post_init__(self) -> None:
        super().__post_init__()
        set_factor(self, self.factor)

    @property
    def numbers(self) -> Numbers:
        return Numbers(mul=self.factor)


@dataclass(frozen=True)
class ClampSubspace(SubspaceEdit):
    """r′ = value: the part's norm is set, its direction stays."""

    value: Value
    kind: ClassVar[str] = "clamp_subspace"

    def __post_init__(self) -> None:
        super().__post_init__()
        set_value(self, self.value)
        if parse_value(self.value).amount < 0:
            raise InterventionError(
                f"value {self.value!r} is negative: a length in a subspace is 0 or more; "
                "ScaleSubspace with a negative factor turns the part round"
            )

    @property
    def numbers(self) -> Numbers:
        return Numbers(adds=True)


def subspace_from_dict(data: Any) -> Subspace:
    """Inverse of `Subspace.to_dict`; unknown kinds and keys are refused by name."""
    return from_tagged(data, {Subspace.kind: Subspace}, "subspace", {"spans": _spans})


def _spans(data: Any) -> list[Direction]:
    if not isinstance(data, list):
        raise InterventionError(f"spans is a list of directions, not {data!r}")
    return [direction_from_dict(span) for span in data]
