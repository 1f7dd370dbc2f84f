"""What all edits have: where and when they act, a target, and the numbers they come down to."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any, ClassVar

from steer.edits.conditions import Condition
from steer.edits.directions import Direction
from steer.edits.positions import Positions, canonical
from steer.edits.schedules import Schedule
from steer.edits.values import Value, canonical_value, finite, parse_value
from steer.errors import InterventionError


@dataclass(frozen=True)
class Numbers:
    """What an edit does to f, see the module's table."""

    mul: float = 0.0
    adds: bool = False
    floors: bool = False
    caps: bool = False


@dataclass(frozen=True)
class Edit:
    """What all edits have.

    positions: the tokens it touches, see `steer.edits.positions`.
    when: a condition on features, see `steer.edits.conditions`.
    schedule: its strength over decoding steps, see `steer.edits.schedules`.
    """

    positions: Positions = field(default="all", kw_only=True)
    when: Condition | None = field(default=None, kw_only=True)
    schedule: Schedule | None = field(default=None, kw_only=True)
    kind: ClassVar[str]
    units: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "positions", canonical(self.positions))
        if not isinstance(self.when, Condition | None):
            raise InterventionError(f"when={self.when!r} is no condition such as Active(7)")
        if not isinstance(self.schedule, Schedule | None):
            raise InterventionError(f"schedule={self.schedule!r} is no schedule such as First(5)")

    @property
    def numbers(self) -> Numbers:
        raise NotImplementedError

    @property
    def target(self) -> object:
        """What it changes: two edits of equal target on one token are in conflict."""
        raise NotImplementedError

    def to_dict(self) -> dict[str, Any]:
        """Plain data; what is not set is left out."""
        data: dict[str, Any] = {"kind": self.kind}
        for attribute in fields(self):
            value = getattr(self, attribute.name)
            if value is not None:
                data[attribute.name] = value.to_dict() if hasattr(value, "to_dict") else value
        return data


@dataclass(frozen=True)
class FeatureEdit(Edit):
    """An edit of one feature. feature: its index in the dictionary."""

    feature: int
    units: ClassVar[tuple[str, ...]] = ("activation", "max", "mean", "quantile", "norm")

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.feature, bool) or not isinstance(self.feature, int):
            raise InterventionError(f"feature must be an index, not {self.feature!r}")
        if self.feature < 0:
            raise InterventionError(f"feature {self.feature} is negative; indices start at 0")

    @property
    def target(self) -> object:
        return self.feature


@dataclass(frozen=True)
class DirectionEdit(Edit):
    """An edit of the projection on one direction, see `steer.edits.directions`."""

    direction: Direction
    units: ClassVar[tuple[str, ...]] = ("activation", "norm", "vector")

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.direction, Direction):
            raise InterventionError(f"{self.direction!r} is no direction such as Vector([…])")

    @property
    def target(self) -> object:
        return self.direction


def set_value(edit: Edit, value: Value) -> None:
    dose = parse_value(value)
    unit = "quantile" if dose.unit.startswith("q") else dose.unit
    if unit not in edit.units:
        raise InterventionError(
            f"value {value!r}: {edit.kind} can't be given in {unit}; allowed: "
            f"{', '.join(edit.units)}"
        )
    object.__setattr__(edit, "value", canonical_value(value))


def set_factor(edit: Edit, factor: float) -> None:
    """Raises `InterventionError` for what is no finite number."""
    if isinstance(factor, bool) or not isinstance(factor, int | float):
        raise InterventionError(f"factor {factor!r} is not a number")
    object.__setattr__(edit, "factor", finite(factor))


@dataclass(frozen=True)
class ValuedEdit(FeatureEdit):
    """A feature edit with a value, see `steer.edits.values`."""

    value: Value

    def __post_init__(self) -> None:
        super().__post_init__()
        set_value(self, self.value)
