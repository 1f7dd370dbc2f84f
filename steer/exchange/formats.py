"""Interventions in other tools' formats, where they can be said there at all.

Those formats hold a vector that is added everywhere, or a projection that is set; none has an
encoder. So `Add` and `AddDirection` export exactly, `ClampProjection` and `ProjectOut` to
lm-eval, `CapProjection` and `FloorProjection` to Neuronpedia, and everything that depends on a
feature's activation is refused with the reason.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from dictionaries.files.tensors import save_tensors
from dictionaries.files.whole import in_one_move, write_whole
from steer.edits import (
    Add,
    AddDirection,
    CapProjection,
    ClampProjection,
    FloorProjection,
    Intervention,
    ProjectOut,
)
from steer.edits.directions import Vector
from steer.errors import InterventionError
from steer.features.fit import refuse_later
from steer.lm.hookpoints import parse, transformer_lens_name
from steer.splice.plan import LoweredEdit, SitePlan
from steer.splice.resolve import plans

if TYPE_CHECKING:
    from dictionaries.dictionary import Dictionary
    from steer.lm.language_model import LanguageModel


def steering_vector(
    model: LanguageModel, intervention: Intervention, dictionaries: tuple[Dictionary, ...] = ()
) -> tuple[str, Tensor]:
    """(hookpoint, vector [d]) that, added at every token, is the intervention.

    Raises `InterventionError` for edits that are not the same addition at every token.
    """
    plan = _plan(model, intervention, dictionaries)
    total = torch.zeros(plan.W_dec.shape[1], dtype=plan.dtype)
    for lowered in plan.edits:
        total += _added(lowered, plan).cpu()
    return str(plan.out.hookpoint), total


def _plan(
    model: LanguageModel, intervention: Intervention, dictionaries: tuple[Dictionary, ...]
) -> SitePlan:
    if intervention.error != "keep":
        raise InterventionError("a steering vector can't drop or freeze the error term")
    (plan,) = plans(model, [intervention], dictionaries)
    refuse_later(plan.later, "a steering vector is")
    return plan


def _added(lowered: LoweredEdit, plan: SitePlan) -> Tensor:
    edit = lowered.edit
    if not isinstance(edit, Add | AddDirection):
        raise InterventionError(
            f"{edit.kind} depends on what the model computes at each token, so it is no fixed "
            "vector; only add and add_direction are"
        )
    _everywhere(lowered)
    if plan.dictionary is not None and plan.dictionary.config.normalisation != "none":
        raise InterventionError(
            "under per-token normalisation the same activation is another length at each token"
        )
    return lowered.amount * plan.W_dec[lowered.target]


def _everywhere(lowered: LoweredEdit) -> None:
    edit = lowered.edit
    if lowered.per_norm:
        raise InterventionError("a value in residual norms differs by token: it is no fixed vector")
    if edit.positions != "all" or edit.when is not None or edit.schedule is not None:
        raise InterventionError(
            f"{edit.kind} acts at some tokens only (positions, when, schedule), which the format "
            "can't say"
        )


def save_steering_vector(
    model: LanguageModel,
    intervention: Intervention,
    path: str | Path,
    dictionaries: tuple[Dictionary, ...] = (),
) -> None:
    """Write a `.safetensors` with one tensor, named by its hookpoint."""
    hookpoint, vector = steering_vector(model, intervention, dictionaries)
    save_tensors({hookpoint: vector}, Path(path), {"digest": intervention.digest})


def load_steering_vector(path: str | Path, coefficient: float = 1.0) -> list[Intervention]:
    """What `save_steering_vector` wrote, as one AddDirection a hookpoint."""
    return [_add_vector(name, vector, coefficient) for name, vector in load_file(path).items()]


def _add_vector(hookpoint: str, vector: Tensor, coefficient: float) -> Intervention:
    direction = Vector(vector.float().flatten().tolist())
    return Intervention(
        str(parse(hookpoint)), [AddDirection(direction, f"{coefficient:g}x vector")]
    )


def from_repeng(path: str | Path, coefficient: float = 1.0) -> list[Intervention]:
    """repeng's GGUF control vector: tensors `direction.L`, added to the output of block L."""
    from gguf import GGUFReader

    layers = {}
    for tensor in GGUFReader(str(path)).tensors:
        name, _, layer = tensor.name.partition(".")
        if name == "direction" and layer.isdigit():
            layers[int(layer)] = torch.tensor(tensor.data).float()
    if not layers:
        raise InterventionError(f"{path} has no tensors direction.L: it is no control vector")
    return from_layers(layers, coefficient)


def from_layers(
    vectors: Mapping[int, Tensor], coefficient: float = 1.0, kind: str = "resid_post"
) -> list[Intervention]:
    """`SteeringVector.layer_activations` of the steering-vectors package: block -> vector [d]."""
    return [
        _add_vector(f"{kind}.{layer}", vector, coefficient)
        for layer, vector in sorted(vectors.items())
    ]


def to_lm_eval(
    model: LanguageModel, intervention: Intervention, dictionaries: tuple[Dictionary, ...] = ()
) -> dict[str, dict[str, Any]]:
    """The mapping that lm-eval's `steered` model reads from a `.pt` file (version 0.4.13).

    Its `clamp` sets the projection on the vector: that is ClampProjection, never Clamp. It hooks
    the outputs of modules.
    """
    plan = _plan(model, intervention, dictionaries)
    if plan.out.side == "input":
        raise InterventionError(
            f"{plan.out.hookpoint} is the input of a module, and lm-eval's steered model changes "
            "outputs; resid_pre of a block is resid_post of the one before it"
        )
    if len(plan.edits) != 1:
        raise InterventionError("lm-eval's steered model keeps one edit a hookpoint; give one")
    (lowered,) = plan.edits
    _everywhere(lowered)
    common = {"head_index": None, "bias": None}
    if isinstance(lowered.edit, ClampProjection | ProjectOut):
        vector, action, amount = plan.W_dec[lowered.target], "clamp", lowered.amount
    else:
        vector, action, amount = _added(lowered, plan), "add", 1.0
    entry = {"action": action, "steering_vector": vector.cpu(), "steering_coefficient": amount}
    # It names modules from the base model on: layers.1, not model.layers.1.
    edited = model.module.get_submodule(plan.out.path)
    named = model.module.base_model.named_modules()
    name = next(name for name, module in named if module is edited)
    return {name: {**entry, **common}}


def to_neuronpedia(
    model: LanguageModel,
    intervention: Intervention,
    model_id: str,
    dictionaries: tuple[Dictionary, ...] = (),
) -> str:
    """JSON of one raw-vector steer of Neuronpedia's API.

    SIMPLE_ADDITIVE of strength 1, or PROJECTION_CAP, whose strength is the most that the projection
    on the unit vector may be: a floor is a cap of the opposite direction.
    """
    if any(isinstance(edit, CapProjection | FloorProjection) for edit in intervention.edits):
        hookpoint, vector, strength = _cap(_plan(model, intervention, dictionaries))
        method = "PROJECTION_CAP"
    else:
        hookpoint, vector = steering_vector(model, intervention, dictionaries)
        strength, method = 1.0, "SIMPLE_ADDITIVE"
    feature = {
        "modelId": model_id,
        "hook": transformer_lens_name(parse(hookpoint)),
        "steering_vector": vector.tolist(),
        "strength": strength,
    }
    return json.dumps({"vectors": [feature], "steer_method": method})


def _cap(plan: SitePlan) -> tuple[str, Tensor, float]:
    """(hookpoint, unit vector [d], most that the projection on it may be)."""
    if len(plan.edits) != 1:
        raise InterventionError(
            "Neuronpedia caps projections one after the other, and edits here read the site before "
            "any is made: give a single cap_projection or floor_projection"
        )
    (lowered,) = plan.edits
    _everywhere(lowered)
    sign = 1.0 if isinstance(lowered.edit, CapProjection) else -1.0
    vector = sign * plan.W_dec[lowered.target].cpu()
    return str(plan.out.hookpoint), vector, sign * lowered.amount


def export_to(
    target: str,
    model: LanguageModel,
    intervention: Intervention,
    path: str | Path,
    dictionaries: tuple[Dictionary, ...] = (),
) -> None:
    """Write `vector` (.safetensors), `lm-eval` (.pt) or `neuronpedia` (.json)."""
    match target:
        case "vector":
            save_steering_vector(model, intervention, path, dictionaries)
        case "lm-eval":
            made = to_lm_eval(model, intervention, dictionaries)
            with in_one_move(Path(path)) as scratch, scratch.open("wb") as file:
                torch.save(made, file)
        case "neuronpedia":
            text = to_neuronpedia(model, intervention, model.name, dictionaries)
            write_whole(Path(path), text)
        case _:
            raise InterventionError(
                f"format {target!r} is unknown; allowed: vector, lm-eval, neuronpedia"
            )
