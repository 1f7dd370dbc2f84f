"""JSON that is read as it says, or not at all."""

from __future__ import annotations

import json
from typing import Any

import pytest

from dictionaries.errors import SteerError
from dictionaries.files.strict_json import DEEPEST, read_json


def nested(levels: int) -> str:
    return "[" * levels + "1" + "]" * levels


@pytest.mark.parametrize("data", [{"a": [1, {"b": None}], "c": 1.5}, [], "x", 3, None])
def test_what_is_json_is_read_as_python_reads_it(data: Any) -> None:
    assert read_json(json.dumps(data), "no JSON", SteerError) == data
    assert read_json(json.dumps(data).encode(), "no JSON", SteerError) == data


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "no JSON: "),
        (b"\xff\xfe\xff", "no JSON: "),
        ("9" * 5_000, "no JSON: "),
        ('{"a": 1, "b": {"c": 1, "c": 1}}', "'c' is there twice"),
        ("[NaN]", "NaN is no number"),
        ("[-Infinity]", "-Infinity is no number"),
        (nested(DEEPEST + 1), "no JSON: it is nested too deeply"),
        (nested(100_000), "no JSON: it is nested too deeply"),
    ],
)
def test_what_would_be_read_otherwise_is_refused(text: str | bytes, says: str) -> None:
    with pytest.raises(SteerError) as told:
        read_json(text, "no JSON", SteerError)
    assert says in str(told.value)


def test_what_is_nested_as_deep_as_may_be_is_read() -> None:
    data = read_json(nested(DEEPEST), "no JSON", SteerError)
    for _ in range(DEEPEST):
        (data,) = data
    assert data == 1
