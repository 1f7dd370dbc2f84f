"""What texts are written in where nobody measures: half the bytes to read for each token."""

from __future__ import annotations

import torch

from dictionaries.training.fast_dtype import fast_dtype

_AMPERE = (8, 0)
"""The first compute capability whose cores multiply bf16."""


def decoding_dtype() -> str:
    """`bfloat16` where what a model is loaded on multiplies it in hardware, else `float32`.

    That is the GPU if there is one, as for `steer.load`, else the CPU. Edits are in fp32 anyway.
    """
    if torch.cuda.is_available():
        return "bfloat16" if torch.cuda.get_device_capability() >= _AMPERE else "float32"
    return fast_dtype()
