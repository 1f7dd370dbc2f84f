"""Whether half precision pays on this machine's CPU."""

from __future__ import annotations

import platform
from functools import cache
from typing import Any

import torch

_X86 = ("x86_64", "amd64", "i386", "i686")


@cache
def fast_dtype() -> str:
    """`bfloat16` where the CPU multiplies it in hardware, else `float32`.

    Without it torch's bf16 products are right but far slower than fp32 ones: 5 times for
    x @ W.T and 60 to 190 times for x @ W on a CPU with AVX2. oneDNN takes bf16 on any CPU with
    AVX-512 and computes it in fp32 there; those that multiply it say avx512_bf16 or amx_bf16.
    """
    multiplied = _says(torch.ops.mkldnn, "_is_mkldnn_bf16_supported")
    if platform.machine().lower() in _X86:
        flags = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
        multiplied = multiplied and any(_says(torch.cpu, flag) for flag in flags)
    return "bfloat16" if multiplied else "float32"


def _says(place: Any, name: str) -> bool:
    """What torch says of the CPU; False where this torch has no such question."""
    asked = getattr(place, name, None)
    return asked is not None and bool(asked())
