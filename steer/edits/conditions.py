"""When an edit acts: conditions on features, combined with `&`, `|` and `~`.

    Clamp(12, "4x max", when=Active(7) & ~Seen(3, above=2.0))

`Active` looks at the same token, `Seen` at the text so far, this token included. All are decided
on the activations of the intervention's own dictionary before it writes. The first token is not
counted by `Seen`: its massive activation sets off features that have nothing to do with the text.
"""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from steer.edits.json import from_tagged
from steer.edits.values import short
from steer.errors import InterventionError


class Condition(ABC):
    """Something that holds at a token or does not."""

    kind: ClassVar[str]

    def __and__(self, other: Condition) -> Condition:
        return And((self, other))

    def __or__(self, other: Condition) -> Condition:
        return Or((self, other))

    def __invert__(self) -> Condition:
        return Not(self)

    @abstractmethod
    def leaves(self) -> tuple[Leaf, ...]:
        """The feature conditions that it is made of."""

    @abstractmethod
    def holds(self, leaf: Callable[[Leaf], Tensor]) -> Tensor:
        """Mask [b, s], given that of every leaf."""

    @abstractmethod
    def to_dict(self) -> dict[str, Any]: ...


@dataclass(frozen=True)
class Leaf(Condition):
    """The feature's activation is above a threshold, in activation units."""

    feature: int
    above: float = 0.0

    def __post_init__(self) -> None:
        if isinstance(self.feature, bool) or not isinstance(self.feature, int) or self.feature < 0:
            raise InterventionError(f"a condition's feature must be an index, not {self.feature!r}")
        number = isinstance(self.above, int | float) and not isinstance(self.above, bool)
        if not number or not abs(self.above) <= sys.float_info.max:
            raise InterventionError(
                f"above={short(self.above)} is not allowed: give a finite number"
            )
        object.__setattr__(self, "above", float(self.above) + 0.0)

    def leaves(self) -> tuple[Leaf, ...]:
        return (self,)

    def holds(self, leaf: Callable[[Leaf], Tensor]) -> Tensor:
        return leaf(self)

    def to_dict(self) -> dict[str, Any]:
        return {"kind": self.kind, "feature": self.feature, "above": self.above}

    def __str__(self) -> str:
        return f"{self.feature} {self.kind} above {self.above:g}"


@dataclass(frozen=True)
class Active(Leaf):
    """The feature is active at this token."""

    kind: ClassVar[str] = "active"


@dataclass(frozen=True)
class Seen(Leaf):
    """The feature has been active at this token or an earlier one."""

    kind: ClassVar[str] = "seen"


@dataclass(frozen=True)
class _Several(Condition):
    of: tuple[Condition, ...]

    def __post_init__(self) -> None:
        if not isinstance(self.of, Condition):
            object.__setattr__(self, "of", tuple(self.of))
        if (
            not isinstance(self.of, tuple)
            or not self.of
            or not all(isinstance(part, Condition) for part in self.of)
        ):
            raise InterventionError(f"{self.kind} needs one or more conditions, not {self.of!r}")

    def leaves(self) -> tuple[Leaf, ...]:
        return tuple(leaf for part in self.of for leaf in part.leaves())

    def to_dict(self) -> dict[str, Any]:
        return {"kind": self.kind, "of": [part.to_dict() for part in self.of]}

    def __str__(self) -> str:
        return f"({f' {self.kind} '.join(map(str, self.of))})"


@dataclass(frozen=True)
class And(_Several):
    """All of them hold."""

    kind: ClassVar[str] = "and"

    def holds(self, leaf: Callable[[Leaf], Tensor]) -> Tensor:
        first, *rest = (part.holds(leaf) for part in self.of)
        for mask in rest:
            first = first & mask
        return first


@dataclass(frozen=True)
class Or(_Several):
    """At least one of them holds."""

    kind: ClassVar[str] = "or"

    def holds(self, leaf: Callable[[Leaf], Tensor]) -> Tensor:
        first, *rest = (part.holds(leaf) for part in self.of)
        for mask in rest:
            first = first | mask
        return first


@dataclass(frozen=True)
class Not(Condition):
    """It does not hold."""

    of: Condition
    kind: ClassVar[str] = "not"

    def __post_init__(self) -> None:
        if not isinstance(self.of, Condition):
            raise InterventionError(f"not needs one condition, not {self.of!r}")

    def leaves(self) -> tuple[Leaf, ...]:
        return self.of.leaves()

    def holds(self, leaf: Callable[[Leaf], Tensor]) -> Tensor:
        return ~self.of.holds(leaf)

    def to_dict(self) -> dict[str, Any]:
        return {"kind": self.kind, "of": self.of.to_dict()}

    def __str__(self) -> str:
        return f"not {self.of}"


CONDITIONS: dict[str, type[Condition]] = {cls.kind: cls for cls in (Active, Seen, And, Or, Not)}


def condition_from_dict(data: Any) -> Condition:
    """Inverse of `Condition.to_dict`; unknown kinds and keys are refused by name."""
    return from_tagged(data, CONDITIONS, "condition", {"of": _of})


def _of(data: Any) -> Condition | tuple[Condition, ...]:
    """What a `not` is of, or an `and` or `or`."""
    if isinstance(data, list):
        return tuple(condition_from_dict(part) for part in data)
    return condition_from_dict(data)
