"""A finished ledger as Parquet: columns, for what reads tables and not lines."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from dictionaries.extras import need
from dictionaries.files.whole import in_one_move
from steer.disk.ledger import Contents

SUFFIX = ".parquet"
HEADER = b"steer"
"""In the schema's metadata: the ledger's header, as JSON."""
STAGE = "stage"
"""The first column: which stage of the work a row is of."""


def is_parquet(path: Path) -> bool:
    return path.suffix.lower() == SUFFIX


def write_parquet(contents: Contents, path: Path) -> None:
    """The rows in their order, one column a name that any of them has.

    Numbers, texts and truths are columns of these, null where a row has none. A column that holds
    anything else, such as lists, or a number here and a text there, is of JSON texts.
    Raises `MissingExtraError` without the extra `parquet`, `SteerError` for a full disk.
    """
    need("pyarrow")
    import pyarrow
    from pyarrow import parquet

    stages = dict.fromkeys([str(key[0]) for key in contents.units])
    rows = [
        {STAGE: stage, **row}
        for stage in stages
        for unit in contents.of(stage).values()
        for row in unit
    ]
    names = dict.fromkeys(name for row in rows for name in row) or {STAGE: None}
    table = pyarrow.table({name: _column([row.get(name) for row in rows]) for name in names})
    header = {HEADER: json.dumps(contents.header)}
    with in_one_move(path) as scratch:
        parquet.write_table(table.replace_schema_metadata(header), scratch)


def _column(values: list[Any]) -> list[Any]:
    kinds = {type(value) for value in values} - {type(None)}
    if kinds == {int, float}:
        return [None if value is None else float(value) for value in values]
    if len(kinds) < 2 and kinds <= {bool, int, float, str}:
        return values
    return [None if value is None else json.dumps(value) for value in values]
