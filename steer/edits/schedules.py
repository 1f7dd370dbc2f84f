"""How strong an edit is at each decoding step: f′ = f + g(t) · (edited − f).

t counts generated tokens: 0 is the first one, whose logits come from the prompt's last position.
The whole prompt is read in the step that generates token 0, so it has t = 0 as well.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from steer.edits.json import from_tagged
from steer.edits.values import check_int64
from steer.errors import InterventionError


@dataclass(frozen=True)
class Schedule:
    """g(t) of one parameter; see the subclasses."""

    n: int
    kind: ClassVar[str]

    def __post_init__(self) -> None:
        if isinstance(self.n, bool) or not isinstance(self.n, int) or self.n < 1:
            raise InterventionError(
                f"{self.kind}({self.n!r}): the number of tokens must be 1 or more"
            )
        check_int64("n", self.n)

    def strength(self, t: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
        """g at each t (integers, any shape), in this dtype."""
        raise NotImplementedError

    def to_dict(self) -> dict[str, Any]:
        return {"kind": self.kind, **asdict(self)}

    def __str__(self) -> str:
        return f"{self.kind} {self.n}"


@dataclass(frozen=True)
class First(Schedule):
    """Full strength for the first n generated tokens, then none."""

    kind: ClassVar[str] = "first"

    def strength(self, t: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
        return (t < self.n).to(dtype)


@dataclass(frozen=True)
class After(Schedule):
    """None for the first n generated tokens, then full strength."""

    kind: ClassVar[str] = "after"

    def strength(self, t: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
        return (t >= self.n).to(dtype)


@dataclass(frozen=True)
class Ramp(Schedule):
    """Rises linearly to full strength at the n-th generated token."""

    kind: ClassVar[str] = "ramp"

    def strength(self, t: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
        return ((t.to(dtype) + 1) / self.n).clamp(max=1.0)


@dataclass(frozen=True)
class Decay(Schedule):
    """Halves every n generated tokens."""

    kind: ClassVar[str] = "decay"

    def strength(self, t: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
        return torch.exp2(-t.to(dtype) / self.n)


SCHEDULES: dict[str, type[Schedule]] = {cls.kind: cls for cls in (First, After, Ramp, Decay)}


def schedule_from_dict(data: Any) -> Schedule:
    """Inverse of `Schedule.to_dict`; unknown kinds and keys are refused by name."""
    return from_tagged(data, SCHEDULES, "schedule")
