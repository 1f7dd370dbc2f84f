"""Which weights a model has, whatever dtype they are held in.

Rounding never turns a weight's sign, so the signs of many weights are the same in every dtype, and
other weights have others. A matrix that is only scaled has the same signs: so magnitudes are beside
them, as one number that any matrix moves as much as it is scaled, and rounding hardly at all.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

_SAMPLES = 1024
_STEPS = 10
"""Magnitudes are told to a tenth of a factor of two. Rounding fp32 weights to bfloat16 moves their
sum by about a hundredth of such a step, so a print can differ between dtypes where that sum lies
on an edge; `is_of` takes both sides of it."""
_FLOOR = 1e-4
"""What float16 holds of smaller weights is too little to tell."""

_OF_CARDS = {"c8b26cfadec7": "f05aa7087068"}
"""What the shipped dictionaries' cards call the default model, from when values were taken."""


@dataclass(frozen=True)
class _Sampled:
    """signs: digest of names, shapes and signs; size: Σ log2 of the weights' mean magnitudes."""

    signs: str
    size: float

    def told(self, steps: int) -> str:
        digits = hashlib.sha256(f"{self.signs}{steps}".encode()).hexdigest()[:12]
        return _OF_CARDS.get(digits, digits)


def fingerprint_of(module: Any) -> str:
    """Twelve hex digits that differ between models, and not between dtypes of one."""
    sampled = _sampled(module)
    return sampled.told(round(sampled.size))


def is_of(module: Any, fingerprint: str) -> bool:
    """Whether a fingerprint is of these weights: by signs, or as it was made before, by values.

    A print by values (64 of each matrix, in bfloat16) is known again in any dtype but float16.
    """
    sampled = _sampled(module)
    near = math.floor(sampled.size), math.ceil(sampled.size)
    return fingerprint in map(sampled.told, near) or fingerprint == _by_values(module)


def _sampled(module: Any) -> _Sampled:
    signs, size = hashlib.sha256(), 0.0
    for name, shape, sample in _samples(module, _SAMPLES):
        signs.update(f"{name}{shape}".encode() + torch.signbit(sample).numpy().tobytes())
        magnitudes = sample.double().abs()[sample.isfinite()]
        size += _STEPS * math.log2(magnitudes.mean().item() + _FLOOR) if len(magnitudes) else 0.0
    return _Sampled(signs.hexdigest(), size)


def _by_values(module: Any) -> str:
    digest = hashlib.sha256()
    for name, shape, sample in _samples(module, 64):
        values = sample.to(torch.bfloat16).float()
        digest.update(f"{name}{shape}".encode() + values.numpy().tobytes())
    return digest.hexdigest()[:12]


def _samples(module: Any, count: int) -> Iterator[tuple[str, tuple[int, ...], Tensor]]:
    """Of every weight its name, shape, and up to so many numbers at equal distances."""
    for name, weight in _weights(module):
        flat = weight.detach().flatten()
        sample = flat[:: max(1, len(flat) // count)][:count].cpu()
        yield name, tuple(weight.shape), sample


def _weights(module: Any) -> Iterator[tuple[str, Tensor]]:
    """Every weight by name, those that are offloaded fetched for the moment."""
    from accelerate.utils import align_module_device

    for name, weight in sorted(module.named_parameters()):
        if weight.device.type != "meta":
            yield name, weight
            continue
        owner, _, leaf = name.rpartition(".")
        holder = module.get_submodule(owner)
        with align_module_device(holder):
            yield name, getattr(holder, leaf)
