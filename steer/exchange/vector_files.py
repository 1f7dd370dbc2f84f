"""Steering vectors that other tools saved, as interventions; found by content, not by name.

| made by | file |
|---|---|
| repeng | GGUF: tensors `direction.L`, added to the output of block L |
| steering-vectors | what `torch.save` makes of a `SteeringVector`, or of its `layer_activations` |
| this toolkit | safetensors: a tensor a hookpoint (`steer.exchange.formats.save_steering_vector`) |

No pickle is executed: `torch.load` reads tensors and nothing else (`weights_only`).
"""

from __future__ import annotations

import pickle
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor

from steer.edits import AddDirection, Intervention
from steer.edits.positions import Positions
from steer.edits.values import Value, parse_value
from steer.errors import InterventionError
from steer.exchange.formats import from_layers, from_repeng, load_steering_vector
from steer.lm.hookpoints import parse

KINDS = {"decoder_block": "resid_post", "self_attn": "attn_out", "mlp": "mlp_out"}
"""A SteeringVector's `layer_type`: whose output it is added to."""


_DAMAGED = (SafetensorError, pickle.UnpicklingError, EOFError, RuntimeError, IndexError, ValueError)


@dataclass
class _SteeringVector:
    """Stands in for `steering_vectors.SteeringVector`, which need not be installed."""

    layer_activations: dict[int, Tensor] = field(default_factory=dict)
    layer_type: str = "decoder_block"


def read_vectors(
    path: str | Path,
    layers: Collection[int] | None = None,
    *,
    value: Value = "1x vector",
    positions: Positions = "all",
) -> list[Intervention]:
    """The file's vectors, one AddDirection a block, in the order of the blocks.

    layers: only these blocks. value: how much is added, in lengths of the vector (`2x vector`), of
    the residual at the token (`0.5x norm`), or as a length; positions: at which tokens.

    Raises `InterventionError` for a file that holds no vectors, a block that has none, or a value
    in another unit.
    """
    unit = parse_value(value).unit
    if unit not in ("activation", "vector", "norm"):
        raise InterventionError(
            f"value {value!r} is in units of a feature ({unit}), and a vector is none: give "
            '"2x vector", a length such as 8, or "0.5x norm"'
        )
    interventions = sorted(_read(Path(path)), key=_layer)
    known = {_layer(intervention) for intervention in interventions}
    if missing := sorted(set(layers or ()) - known):
        there = ", ".join(map(str, sorted(known)))
        raise InterventionError(f"{path} has no vector for layer {missing[0]}; it has {there}")
    return [
        replace(
            intervention, edits=[_changed(edit, value, positions) for edit in intervention.edits]
        )
        for intervention in interventions
        if not layers or _layer(intervention) in layers
    ]


def _layer(intervention: Intervention) -> int:
    return parse(intervention.dictionary).layer


def _changed(edit: Any, value: Value, positions: Positions) -> AddDirection:
    return AddDirection(edit.direction, value, positions=positions)


_WRITTEN = ("repeng (.gguf)", "steering-vectors (.pt)", "ours (.safetensors)")


def _read(path: Path) -> list[Intervention]:
    try:
        with path.open("rb") as file:
            head = file.read(9)
    except OSError as error:
        raise InterventionError(f"{path} can't be read: {error.strerror}") from error
    try:
        if head.startswith(b"GGUF"):
            return from_repeng(path)
        if head[8:9] == b"{":
            return load_steering_vector(path)
        return _from_torch(path)
    except InterventionError:
        raise
    except _DAMAGED as error:
        raise InterventionError(
            f"{path} holds no steering vectors: it is no file of {' or '.join(_WRITTEN)} "
            f"({type(error).__name__})"
        ) from error


def _from_torch(path: Path) -> list[Intervention]:
    name = "steering_vectors.steering_vector.SteeringVector"
    with torch.serialization.safe_globals([(_SteeringVector, name)]):
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    if isinstance(loaded, Mapping):
        loaded = _SteeringVector(dict(loaded))
    if not isinstance(loaded, _SteeringVector) or not _are_vectors(loaded.layer_activations):
        raise InterventionError(
            f"{path} holds {type(loaded).__name__}, not a SteeringVector or its layer_activations "
            "(block -> vector)"
        )
    if loaded.layer_type not in KINDS:
        raise InterventionError(
            f"{path} is for the output of {loaded.layer_type!r}, which is no site here; "
            f"allowed: {', '.join(KINDS)}"
        )
    return from_layers(loaded.layer_activations, kind=KINDS[loaded.layer_type])


def _are_vectors(given: object) -> bool:
    return (
        isinstance(given, Mapping)
        and len(given) > 0
        and all(type(layer) is int and layer >= 0 for layer in given)
        and all(isinstance(vector, Tensor) and vector.ndim == 1 for vector in given.values())
    )
