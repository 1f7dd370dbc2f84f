"""A few rows decoded together on a CPU, at little more than the cost of one.

At every decoding step, two rows read the same weights as one, and reading them is what takes the
time. But torch asks MKL for x @ Wᵀ, whose kernels for two to four rows are, on AMD's processors, so
slow that a second row costs two thirds of the first. W @ xᵀ is the same product, by a kernel that
reads W once. On Intel's it is the other way round: there W @ xᵀ takes twice the time.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

MOST = 4
"""Rows from which the usual product is as fast."""


def quick_rows(rows: int) -> AbstractContextManager[object]:
    """`FewRows` for so many rows at once on a processor that it is faster on.

    Not for others: it looks at every call of torch, which takes a tenth of a token's time.
    Told by its maker and not by a clock, so that equal runs on one machine are equal to the bit.
    """
    return FewRows() if 2 <= rows <= MOST and _slow_kernels() else nullcontext()


@cache
def _slow_kernels() -> bool:
    described = Path("/proc/cpuinfo")
    text = described.read_text() if described.exists() else platform.processor()
    return torch.backends.mkl.is_available() and "AuthenticAMD" in text


class FewRows(TorchFunctionMode):
    """While entered, linear layers of 2 to 4 rows in fp32 on a CPU are computed as W @ xᵀ.

    Only those that don't narrow: for the others it is no faster. Results differ by rounding.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        if func is functional.linear and not kwargs and _worthwhile(*args[:2]):
            return _linear(*args)
        return func(*args, **(kwargs or {}))


def _worthwhile(x: Tensor, weight: Tensor) -> bool:
    wide, narrow = weight.shape
    return (
        x.dtype == torch.float32
        and x.device.type == "cpu"
        and wide >= narrow
        and 2 * narrow <= x.numel() <= MOST * narrow
    )


def _linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x [..., in] and weight [out, in] -> [..., out]."""
    out = (weight @ x.reshape(-1, weight.shape[1]).T).T.contiguous()
    out = out.view(*x.shape[:-1], weight.shape[0])
    return out if bias is None else out + bias
