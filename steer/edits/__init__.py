"""What to do to a feature or a direction, where and when: values with a JSON form."""

from steer.edits.base import DirectionEdit, Edit, FeatureEdit
from steer.edits.intervention import Intervention, as_tuple
from steer.edits.kinds import (
    KINDS,
    Ablate,
    Add,
    AddDirection,
    Cap,
    CapProjection,
    Clamp,
    ClampProjection,
    Floor,
    FloorProjection,
    Patch,
    ProjectOut,
    Resample,
    Scale,
    edit_from_dict,
)
from steer.edits.subspaces import (
    AblateSubspace,
    ClampSubspace,
    ScaleSubspace,
    Subspace,
    SubspaceEdit,
)
from steer.edits.values import Dose, Value, parse_value

__all__ = [
    "KINDS",
    "Ablate",
    "AblateSubspace",
    "Add",
    "AddDirection",
    "Cap",
    "CapProjection",
    "Clamp",
    "ClampProjection",
    "ClampSubspace",
    "DirectionEdit",
    "Dose",
    "Edit",
    "FeatureEdit",
    "Floor",
    "FloorProjection",
    "Intervention",
    "Patch",
    "ProjectOut",
    "Resample",
    "Scale",
    "ScaleSubspace",
    "Subspace",
    "SubspaceEdit",
    "Value",
    "as_tuple",
    "edit_from_dict",
    "parse_value",
]
