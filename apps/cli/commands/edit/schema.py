"""`steer schema`: the form of an intervention's file."""

from __future__ import annotations

import json

from apps.cli.command import command


@command("steer schema > intervention.schema.json")
def schema() -> None:
    """The JSON Schema of an intervention."""
    from steer.edits.schema import json_schema

    print(json.dumps(json_schema(), indent=1))
