"""What a norm does, asked of the norm itself: its gain, its bias, and whether it centres.

    y = P x ⊙ gain / scale (+ bias)

LayerNorm divides by the standard deviation after subtracting the mean (P), RMSNorm by the root mean
square alone. With the scale held at its value in a clean run the norm is a linear map.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from steer.errors import ModelError
from steer.maths.precision import exact

_TOLERANCE = 1e-2
"""Relative; a model may compute its norm in half precision."""


@dataclass(frozen=True, eq=False)
class Norm:
    """gain [d]; bias [d] or None; centred: whether it is a LayerNorm; epsilon: inside the root."""

    gain: Tensor
    bias: Tensor | None
    centred: bool
    epsilon: float

    @classmethod
    def of(cls, norm: nn.Module, d: int) -> Norm:
        """A module of a model, of width d. Raises `ModelError` for one of another formula.

        Neither names nor classes are trusted (Cohere's LayerNorm has no bias, Qwen3-Next's gain is
        1 + weight, Gemma 4's is not): its output on a made-up vector must be the formula's.
        """
        weight, bias = (_parameter(norm, name) for name in ("weight", "bias"))
        like = next(norm.parameters(), torch.zeros(()))
        gains = [torch.ones(d, device=like.device)] if weight is None else [weight, weight + 1]
        guesses = [
            cls(exact(gain), bias, centred, _epsilon(norm))
            for centred in (False, True)
            for gain in gains
        ]
        x = torch.linspace(-1, 2, d, device=like.device, dtype=like.dtype)
        with torch.inference_mode():
            wanted = exact(norm(x.view(1, 1, -1)))[0, 0]
            gaps = [((guess(x) - wanted).norm() / wanted.norm()).item() for guess in guesses]
        gap, best = min(zip(gaps, range(len(gaps)), strict=True))
        if gap <= _TOLERANCE:
            return guesses[best]
        raise ModelError(
            f"{type(norm).__name__} is neither a LayerNorm nor an RMSNorm: its output is {gap:.1%} "
            "off that of the nearest, so its scale can't be held"
        )

    def __call__(self, x: Tensor) -> Tensor:
        """The norm itself, nothing held."""
        y = self.slope(x, self.scale(x))
        return y if self.bias is None else y + self.bias

    def scale(self, x: Tensor) -> Tensor:
        """What x [..., d] is divided by, [..., 1]."""
        x = self._centre(exact(x))
        return (x.square().mean(-1, keepdim=True) + self.epsilon).sqrt()

    def before_gain(self, x: Tensor) -> Tensor:
        """What is multiplied by the gain: x [..., d] over its scale."""
        return self._centre(exact(x)) / self.scale(x)

    def slope(self, change: Tensor, scale: Tensor | float = 1.0) -> Tensor:
        """Change of the output for a change [..., d] of the input, the scale held: linear."""
        return self._centre(exact(change)) * self.gain / scale

    def _centre(self, x: Tensor) -> Tensor:
        return x - x.mean(-1, keepdim=True) if self.centred else x


def _parameter(norm: nn.Module, name: str) -> Tensor | None:
    value = getattr(norm, name, None)
    return exact(value.detach()) if isinstance(value, Tensor) else None


def _epsilon(norm: Any) -> float:
    for name in ("eps", "variance_epsilon", "epsilon"):
        if hasattr(norm, name):
            return float(getattr(norm, name))
    return 0.0
