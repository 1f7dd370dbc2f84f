"""Where a model's weights lie, and how they are packed: accelerate's and bitsandbytes' words."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from dictionaries.extras import need
from steer.disk.cache import cache_part
from steer.errors import ModelError

MAPS = ("auto", "balanced", "balanced_low_0", "sequential", "cpu", "disk")
PACKED = ("4bit", "8bit")


@dataclass(frozen=True)
class Placement:
    """device: one for all weights; device_map: one of `MAPS`, a device, or a device of each module
    by name; quantization: one of `PACKED`, or None for weights as they are.

    Raises `ModelError` for words that are none, and for both of device and device_map.
    """

    device: str | None = None
    device_map: str | Mapping[str, Any] | None = None
    quantization: str | None = None

    def __post_init__(self) -> None:
        if self.device is not None and self.device_map is not None:
            raise ModelError("give device= for all weights, or device_map=, not both")
        if self.quantization not in (None, *PACKED):
            raise ModelError(
                f"quantization {self.quantization!r} is unknown; allowed: {', '.join(PACKED)}"
            )
        named = self.device_map
        if isinstance(named, str) and named not in MAPS and not _is_device(named):
            raise ModelError(
                f"device_map {named!r} is unknown; allowed: {', '.join(MAPS)}, a device such as "
                "cuda:1, or a mapping from modules to these"
            )
        if self.quantization:
            need("bitsandbytes")

    @property
    def moves(self) -> bool:
        """Whether the model is moved in one piece after it was read."""
        return self.device_map is None and self.quantization is None

    @property
    def chosen(self) -> str:
        """The one device: a GPU if there is one, unless it was said."""
        return self.device or ("cuda" if torch.cuda.is_available() else "cpu")

    def options(self, dtype: torch.dtype) -> dict[str, Any]:
        """What `from_pretrained` takes."""
        options: dict[str, Any] = {}
        if not self.moves:
            named = self.device_map or self.chosen
            whole = isinstance(named, str) and (named in ("cpu", "disk") or _is_device(named))
            options["device_map"] = {"": named} if whole else named
            options["offload_folder"] = _offload_folder()
        if self.quantization:
            from transformers import BitsAndBytesConfig

            options["quantization_config"] = BitsAndBytesConfig(
                load_in_4bit=self.quantization == "4bit",
                load_in_8bit=self.quantization == "8bit",
                bnb_4bit_compute_dtype=dtype,
            )
        return options


def packing_of(module: Any) -> str:
    """How a model's weights are packed: `4bit`, `8bit`, `4bit gptq`, `mxfp4`; else empty.

    Whoever packed them: `quantization`, a folder that holds them so, or hands that left no mark.
    """
    if not getattr(module, "is_quantized", False):
        bytes_ = {str(weight.dtype) for weight in module.parameters() if weight.itemsize == 1}
        return " and ".join(sorted(bytes_)).replace("torch.", "")
    how = getattr(getattr(module, "hf_quantizer", None), "quantization_config", None)
    for kind in PACKED:
        if getattr(how, f"load_in_{kind}", False):
            return kind
    method, bits = getattr(how, "quant_method", "packed"), getattr(how, "bits", None)
    name = str(getattr(method, "value", method))
    return f"{bits}bit {name}" if bits else name


def _is_device(name: str) -> bool:
    try:
        torch.device(name)
    except RuntimeError:
        return False
    return True


def _offload_folder() -> str:
    """For weights that are kept on a disk while this process lasts."""
    folder = tempfile.mkdtemp(prefix="weights-", dir=cache_part("offloaded"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder
