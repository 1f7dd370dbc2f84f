"""The machine that figures are of, so that those of another can stand beside them."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

INSTRUCTIONS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16", "amx_tile", "asimd", "bf16", "sve")
"""Sets that decide how fast torch computes, as Linux names them; the last three of ARM."""
LIMITS = (
    "ATEN_CPU_CAPABILITY",
    "ONEDNN_MAX_CPU_ISA",
    "DNNL_MAX_CPU_ISA",
    "MKL_ENABLE_INSTRUCTIONS",
)
"""Variables that hold a part of torch to fewer: its own kernels, oneDNN (products in bf16), MKL
(products in fp32, which on AMD's processors were as fast with as without)."""
_LISTED = Path("/proc/cpuinfo")


def machine() -> dict[str, Any]:
    """What the figures are of, as plain data.

    processor: as the system names it. maker, family, model, stepping: as it tells itself, since a
    name such as `AMD EPYC` is that of many kinds; None where the system does not say.
    instructions: of `INSTRUCTIONS`, those that it has. kernels: which torch's own take; limits: the
    variables of `LIMITS` that are set; bf16: whether bf16 is multiplied in hardware, with these.
    """
    import torch

    from dictionaries.training.fast_dtype import fast_dtype

    described = {
        **processor(_LISTED.read_text() if _LISTED.is_file() else ""),
        "kernels": torch.backends.cpu.get_cpu_capability(),
        "limits": {name: os.environ[name] for name in LIMITS if name in os.environ},
        "bf16": fast_dtype() == "bfloat16",
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
    }
    return described | ({"gpu": torch.cuda.get_device_name()} if torch.cuda.is_available() else {})


def processor(listed: str) -> dict[str, Any]:
    """The first processor of a text as `/proc/cpuinfo`; by name alone where that says nothing."""
    lines = (line.partition(":") for line in listed.split("\n\n")[0].splitlines())
    told = {name.strip(): value.strip() for name, _, value in lines}
    flags = re.split(r"\s+", told.get("flags") or told.get("Features") or "")

    def first(*names: str) -> str | None:
        return next((told[name] for name in names if name in told), None)

    return {
        "processor": first("model name") or platform.processor() or platform.machine(),
        "maker": first("vendor_id", "CPU implementer"),
        "family": first("cpu family", "CPU architecture"),
        "model": first("model", "CPU part"),
        "stepping": first("stepping", "CPU revision"),
        "instructions": [name for name in INSTRUCTIONS if name in flags],
    }


def named(described: Mapping[str, Any]) -> str:
    """A machine's processor in a few words, the same for all of its kind."""
    made = [f"{name} {described[name]}" for name in ("family", "model") if described.get(name)]
    return ", ".join([described["processor"], *made])


def said(described: Mapping[str, Any]) -> str:
    """A machine in a line. Rows kept before the rest was asked have a name and threads alone."""
    parts = [named(described)]
    if described.get("stepping"):
        parts.append(f"stepping {described['stepping']}")
    if described.get("instructions"):
        parts.append(f"with {' '.join(described['instructions'])}")
    if described.get("kernels"):
        parts.append(f"torch {described['torch']} by its {described['kernels']} kernels")
    if limits := described.get("limits"):
        set_to = " ".join(f"{name}={value}" for name, value in limits.items())
        parts.append(f"the same processor with {set_to} set")
    parts.append(f"{described['threads']} threads")
    if "gpu" in described:
        parts.append(f"gpu {described['gpu']}")
    return ", ".join(parts)
