"""`steer schema`: the form of an intervention's file."""

from __future__ import annotations

import json

from apps.cli.command import command
from apps.cli.options.run import Output
from apps.cli.output import print_json


@command("steer schema > intervention.schema.json")
def schema(*, output: Output) -> None:
    """The JSON Schema of an intervention: indented, or with --json in one line."""
    from steer.edits.schema import json_schema

    if output.json_output:
        print_json(json_schema())
    else:
        print(json.dumps(json_schema(), indent=1))
