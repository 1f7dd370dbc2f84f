"""Numbers that are not finite: found on the device in one step, and said in one line."""

from __future__ import annotations

import torch
from torch import Tensor

from steer.errors import NonFiniteError

_WIDER = {"float16": "float32 or bfloat16"}


def overflowed(values: Tensor) -> Tensor:
    """Where numbers [..., n] hold NaN or +∞, [...]. A model may give −∞ to tokens on purpose."""
    return ~(values.amax(-1) < torch.inf)


def first_of(bad: Tensor, real: Tensor | None = None) -> tuple[int, int] | None:
    """Row and column of the first that is set in bad [b, s], at real tokens; one sync.

    real: on any device: a site may lie elsewhere than the token ids.
    """
    chosen = bad if real is None else bad & real.to(bad.device)
    if not bool(chosen.any()):
        return None
    row, column = chosen.nonzero()[0].tolist()
    return row, column


def own_error(name: str, dtype: str, position: int, token: str) -> NonFiniteError:
    """Of a model that overflows without any edit."""
    wider = _WIDER.get(dtype)
    remedy = f"load it in {wider}" if wider else "its weights or its code are at fault"
    return NonFiniteError(
        f"{name} in {dtype} gives numbers that are not finite by itself, without any edit, at "
        f"token {position} ({token!r}): {remedy}"
    )


def wider_than(dtype: str) -> str:
    """What else to do about an overflow, beside asking for less."""
    return f", or load the model in {_WIDER[dtype]}" if dtype in _WIDER else ""
