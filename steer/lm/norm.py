"""The final norm with its scale held at a clean run: a linear map, and with it the direct effect.

LayerNorm divides by the standard deviation after subtracting the mean, RMSNorm by the root mean
square alone. Holding that divisor at its clean value leaves centring (LayerNorm only) and the gain.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from steer.errors import ModelError
from steer.lm.unembedding import final_norm
from steer.maths.precision import exact

if TYPE_CHECKING:
    from steer.model import Model

_TOLERANCE = 1e-2
"""Relative; a model may compute its norm in half precision."""


@dataclass(frozen=True, eq=False)
class FrozenNorm:
    """y = P x ⊙ gain / scale (+ bias), with P the centring of LayerNorm, or nothing.

    gain [d]; bias [d] or None; centred: whether it is a LayerNorm; epsilon: inside the root.
    """

    gain: Tensor
    bias: Tensor | None
    centred: bool
    epsilon: float

    @classmethod
    def of(cls, model: Model) -> FrozenNorm:
        """The model's final norm. Raises `ModelError` if it is neither LayerNorm nor RMSNorm.

        Which of the two it is, and whether its gain is `weight` or Gemma's 1 + `weight`, is asked
        of the norm itself: its output on a made-up vector must be what these formulas say.
        """
        norm = final_norm(model)
        weight = exact(norm.weight.detach())
        bias = getattr(norm, "bias", None)
        found = None if bias is None else exact(bias.detach())
        guesses = [
            cls(gain, found, centred, _epsilon(norm))
            for centred in (False, True)
            for gain in (weight, weight + 1)
        ]
        x = torch.linspace(-1, 2, len(weight), device=weight.device, dtype=norm.weight.dtype)
        with torch.inference_mode():
            wanted = exact(norm(x.view(1, 1, -1)))[0, 0]
            gaps = [(guess(x) - wanted).norm() / wanted.norm() for guess in guesses]
        gap, best = min((gap.item(), number) for number, gap in enumerate(gaps))
        if gap <= _TOLERANCE:
            return guesses[best]
        raise ModelError(
            f"the final norm of {model.name}, {type(norm).__name__}, is neither a LayerNorm nor an "
            "RMSNorm, so its scale can't be frozen"
        )

    def __call__(self, x: Tensor) -> Tensor:
        """The norm itself, nothing held."""
        y = self.slope(x, self.scale(x))
        return y if self.bias is None else y + self.bias

    def scale(self, x: Tensor) -> Tensor:
        """What x [..., d] is divided by, [..., 1]."""
        x = self._centre(exact(x))
        return (x.square().mean(-1, keepdim=True) + self.epsilon).sqrt()

    def slope(self, change: Tensor, scale: Tensor) -> Tensor:
        """Change of the output for a change [..., d] of the input, the scale held: linear."""
        return self._centre(exact(change)) * self.gain / scale

    def _centre(self, x: Tensor) -> Tensor:
        return x - x.mean(-1, keepdim=True) if self.centred else x


def _epsilon(norm: Any) -> float:
    for name in ("eps", "variance_epsilon", "epsilon"):
        if hasattr(norm, name):
            return float(getattr(norm, name))
    return 0.0
