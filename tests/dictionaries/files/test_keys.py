"""Keys of foreign configs: used, harmless, or refused with their value."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dictionaries.errors import FormatError
from dictionaries.files.keys import Keys

KEYS = Keys(
    used=("k",),
    harmless=("lr",),
    only={"act": ("relu", None), "glu": (False,), "scale": (1,)},
    inside={"buffer": Keys(("io",), only={"norm": (False,)})},
)
PATH = Path("a/config.json")


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"k": 3, "lr": [1, {}]},
        {"act": "relu", "glu": False, "scale": 1},
        {"act": None, "buffer": None},
        {"buffer": {"io": "in", "norm": False}},
    ],
)
def test_known(said: dict[str, Any]) -> None:
    KEYS.check(said, PATH)


@pytest.mark.parametrize(
    ("said", "named"),
    [
        ({"k": 3, "unit_norm": True}, r"a/config\.json says unit_norm = True, which is not known"),
        ({"z": 1, "b": "x" * 500}, r"says b = 'x+\.\.\.x+', z = 1, which"),
        ({"act": "tanh"}, r"says act = 'tanh', which can't be read; allowed: 'relu', None"),
        ({"act": ["relu"]}, r"says act = \['relu'\], which can't be read"),
        ({"glu": 0}, r"says glu = 0, which can't be read; allowed: False"),
        ({"scale": True}, r"says scale = True, which can't be read; allowed: 1"),
        ({"buffer": {"shift": 2}}, r"says buffer\.shift = 2, which is not known"),
        ({"buffer": {"norm": True}}, r"says buffer\.norm = True, which can't be read"),
    ],
)
def test_refused_by_name(said: dict[str, Any], named: str) -> None:
    with pytest.raises(FormatError, match=named):
        KEYS.check(said, PATH)
