"""What E8 finds of one eraser on the prompts of one family."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

_TENSORS = ("chance", "norm", "kl")


@dataclass(frozen=True, eq=False)
class Erased:
    """What one eraser did. chance, norm [prompts]; kl [texts]; names: of each prompt."""

    site: str
    fitted: str
    tested: str
    method: str
    feature: int | None
    names: tuple[str, ...]
    chance: Tensor
    norm: Tensor
    kl: Tensor

    def to_dict(self) -> dict[str, Any]:
        tensors = {name: getattr(self, name).tolist() for name in _TENSORS}
        return {**{f.name: getattr(self, f.name) for f in fields(self)}, **tensors}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Erased:
        tensors = {name: torch.tensor(data[name], dtype=torch.float64) for name in _TENSORS}
        return cls(**{**data, "names": tuple(data["names"]), **tensors})

    @property
    def key(self) -> tuple[str, str, str]:
        return self.site, self.fitted, self.tested
