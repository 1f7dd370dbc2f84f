"""The ways in which a published dictionary's file may have been meant, to try one by one.

A reading is a dictionary and what it is given: the conventions that files leave unsaid change one
or the other, and a wrong one still runs. Which one fits shows only on real activations.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from dictionaries.base import NORMALISATIONS, Dictionary
from dictionaries.formats.sites import in_residual_space

AS_LOADED = "as loaded"
_SAME_SCALE = 0.05
"""A norm factor this near to 1 changes nothing that could be told apart."""


@dataclass(frozen=True, eq=False)
class Reading:
    """A dictionary, what it reads [n, d_in], and what it should reconstruct [n, d_out]."""

    name: str
    dictionary: Dictionary
    x: Tensor
    y: Tensor


@dataclass(frozen=True)
class Figures:
    """Of one reading: mean active features a token, FVU, and share of features never active."""

    l0: float
    fvu: float
    dead_share: float


def readings(
    dictionary: Dictionary, x: Tensor, y: Tensor, others: Mapping[str, tuple[Tensor, Tensor]]
) -> Iterator[Reading]:
    """The dictionary as loaded, then one convention changed at a time.

    others: name -> (x, y) of other sites and texts that may have been meant.
    """
    yield Reading(AS_LOADED, dictionary, x, y)
    yield from _biases(dictionary, x, y)
    if in_residual_space(dictionary.config.hookpoint):
        centred = (x - x.mean(-1, keepdim=True), y - y.mean(-1, keepdim=True))
        yield Reading("residual centred", dictionary, *centred)
    yield from _scales(dictionary, x, y)
    for name in NORMALISATIONS:
        if name != dictionary.config.normalisation and not dictionary.is_transcoder:
            config = replace(dictionary.config, normalisation=name)
            yield Reading(f"normalisation {name}", replace(dictionary, config=config), x, y)
    for name, (other_x, other_y) in others.items():
        yield Reading(name, dictionary, other_x, other_y)


def _biases(dictionary: Dictionary, x: Tensor, y: Tensor) -> Iterator[Reading]:
    """Loaders fold the decoder bias that an encoder subtracts: it may be once too often or few."""
    if dictionary.config.d_out not in (None, dictionary.config.d_in):
        return
    shift = dictionary.b_dec @ dictionary.W_enc
    for name, sign in (("decoder bias subtracted", -1), ("decoder bias not subtracted", 1)):
        if bool(shift.any()):
            changed = replace(dictionary, b_enc=dictionary.b_enc + sign * shift)
            yield Reading(name, changed, x, y)


def _scales(dictionary: Dictionary, x: Tensor, y: Tensor) -> Iterator[Reading]:
    """Activations scaled to a mean norm of sqrt(d), as trainers do, or weights scaled twice."""
    into, out = (t.shape[-1] ** 0.5 / t.norm(dim=-1).mean() for t in (x, y))
    if abs(into - 1) > _SAME_SCALE:
        yield Reading(f"norm factor {into:.3g} on the input", dictionary, x * into, y * out)
        yield Reading(f"norm factor {1 / into:.3g} on the input", dictionary, x / into, y / out)


def before_gain(norm: nn.Module, x: Tensor) -> Tensor:
    """What a norm multiplies by its gain: x [n, d] centred if it is a LayerNorm, over its RMS."""
    if isinstance(norm, nn.LayerNorm):
        x = x - x.mean(-1, keepdim=True)
    eps = next((getattr(norm, a) for a in ("eps", "variance_epsilon") if hasattr(norm, a)), 1e-6)
    return x * (x.square().mean(-1, keepdim=True) + eps).rsqrt()


@torch.inference_mode()
def figures(reading: Reading, batch: int = 512) -> Figures:
    """Reconstruct y from x, batch by batch."""
    dictionary, mean = reading.dictionary, reading.y.mean(0)
    error = variance = active = 0.0
    fired = torch.zeros(dictionary.width, dtype=torch.bool, device=reading.x.device)
    for x, y in zip(reading.x.split(batch), reading.y.split(batch), strict=True):
        features, norm = dictionary.encode(x)
        reconstruction = dictionary.decode(features, norm)
        if dictionary.W_skip is not None:
            reconstruction = reconstruction + x @ dictionary.W_skip
        error += (y - reconstruction).square().sum().item()
        variance += (y - mean).square().sum().item()
        active += (features != 0).sum().item()
        fired |= (features != 0).any(0)
    return Figures(
        l0=active / len(reading.x),
        fvu=error / variance if variance else float("inf"),
        dead_share=1 - fired.float().mean().item(),
    )
