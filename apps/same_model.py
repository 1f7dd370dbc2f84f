"""How to load the model that is here once more: in a child process, a script or a command."""

from __future__ import annotations

from steer.errors import ModelError
from steer.lm.placement import Placement
from steer.model import Model


def arguments(model: Model) -> list[str]:
    """Options of a `steer` command that runs it.

    Raises `ModelError` for a model or tokenizer given as an object, and for a device_map that is a
    mapping.
    """
    placement = _placement(model)
    where = placement.device_map or placement.device
    if not isinstance(where, str | None):
        raise ModelError(
            f"{model.name} was loaded with a device of each module, and a command takes one word: "
            "load it with device_map='auto' or another word, or use Python"
        )
    options = {"--device-map": where, "--quantize": placement.quantization}
    given = [word for name, value in options.items() if value for word in (name, value)]
    return ["--model", model.name, "--dtype", model.dtype, *given]


def call(model: Model) -> str:
    """Python that loads it. Raises `ModelError` for a model or tokenizer given as an object."""
    placement = _placement(model)
    options = {
        "dtype": model.dtype,
        "device": placement.device,
        "device_map": placement.device_map,
        "quantization": placement.quantization,
    }
    given = "".join(f", {name}={value!r}" for name, value in options.items() if value)
    return f"steer.load({model.name!r}{given})"


def _placement(model: Model) -> Placement:
    if model.placement is None:
        raise ModelError(
            f"{model.name} or its tokenizer was given as an object, which no other process can "
            "load: save both in a folder with save_pretrained, and load that"
        )
    return model.placement
