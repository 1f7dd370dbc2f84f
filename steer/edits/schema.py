"""The JSON Schema of an intervention, built from the classes themselves."""

from __future__ import annotations

from dataclasses import MISSING, fields
from typing import Any

from steer.edits.directions import DIRECTIONS
from steer.edits.intervention import CONFLICTS, ERROR_POLICIES, VERSION
from steer.edits.kinds import KINDS
from steer.edits.positions import NAMED
from steer.edits.schedules import SCHEDULES
from steer.edits.subspaces import Subspace

_FIELDS: dict[str, Any] = {
    "positions": {"$ref": "#/$defs/positions"},
    "when": {"$ref": "#/$defs/condition"},
    "schedule": {"$ref": "#/$defs/schedule"},
    "direction": {"$ref": "#/$defs/direction"},
    "subspace": {"$ref": "#/$defs/subspace"},
    "spans": {"type": "array", "items": {"$ref": "#/$defs/direction"}, "minItems": 1},
    "feature": {"type": "integer", "minimum": 0},
    "value": {"type": ["number", "string"]},
    "factor": {"type": "number"},
    "to": {"enum": ["zero", "mean"]},
    "prompt": {"type": "string"},
    "reference": {"type": "array", "items": {"type": "string"}, "minItems": 1},
    "seed": {"type": "integer"},
    "values": {"type": "array", "items": {"type": "number"}, "minItems": 1},
    "dictionary": {"type": "string"},
    "positive": {"type": "array", "items": {"type": "string"}, "minItems": 1},
    "negative": {"type": "array", "items": {"type": "string"}, "minItems": 1},
    "n": {"type": "integer", "minimum": 1},
}


def json_schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of `Intervention.to_json`, version `VERSION`."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Intervention",
        "type": "object",
        "additionalProperties": False,
        "required": ["dictionary", "edits"],
        "properties": {
            "version": {"const": VERSION},
            "dictionary": {"type": "string", "minLength": 1},
            "error": {"enum": list(ERROR_POLICIES)},
            "conflicts": {"enum": list(CONFLICTS)},
            "edits": {
                "type": "array",
                "items": {"oneOf": [_of(cls) for cls in KINDS.values()]},
            },
        },
        "$defs": {
            "row_positions": {"oneOf": _row_positions()},
            "positions": {"oneOf": [*_row_positions(), _rows()]},
            "condition": _condition(),
            "schedule": {"oneOf": [_of(cls) for cls in SCHEDULES.values()]},
            "direction": {"oneOf": [_of(cls) for cls in DIRECTIONS.values()]},
            "subspace": _of(Subspace),
        },
    }


def _of(cls: Any) -> dict[str, Any]:
    required = [
        field.name
        for field in fields(cls)
        if field.default is MISSING and field.default_factory is MISSING
    ]
    return {
        "type": "object",
        "additionalProperties": False,
        "required": ["kind", *required],
        "properties": {
            "kind": {"const": cls.kind},
            **{field.name: _FIELDS[field.name] for field in fields(cls)},
        },
    }


def _row_positions() -> list[dict[str, Any]]:
    return [
        {"enum": list(NAMED)},
        {"type": "string", "pattern": r"^(-?\d+)?:(-?\d+)?(:\d+)?$"},
        {"type": "integer"},
        {"type": "array", "items": {"type": "integer"}, "minItems": 1},
        _listing("tokens", {"type": ["string", "integer"]}),
    ]


def _rows() -> dict[str, Any]:
    return _listing("rows", {"$ref": "#/$defs/row_positions"})


def _listing(name: str, items: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "additionalProperties": False,
        "required": [name],
        "properties": {name: {"type": "array", "items": items, "minItems": 1}},
    }


def _condition() -> dict[str, Any]:
    nested = {"$ref": "#/$defs/condition"}
    leaf = {"feature": _FIELDS["feature"], "above": {"type": "number"}}
    several = {"of": {"type": "array", "items": nested, "minItems": 1}}
    shapes = [
        (("active", "seen"), leaf, ["kind", "feature"]),
        (("and", "or"), several, ["kind", "of"]),
        (("not",), {"of": nested}, ["kind", "of"]),
    ]
    return {
        "oneOf": [
            {
                "type": "object",
                "additionalProperties": False,
                "required": required,
                "properties": {"kind": {"enum": list(kinds)}, **properties},
            }
            for kinds, properties, required in shapes
        ]
    }
