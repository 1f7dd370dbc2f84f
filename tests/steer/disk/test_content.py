"""A digest of values: the same for the same content, and another for any other."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import pytest
import torch

from steer.disk.content import content_digest, source_digest
from tests.support import ROOT


@dataclass(frozen=True)
class Point:
    x: Any


class Open:
    def __init__(self, x: Any) -> None:
        self.x = x


DIFFERENT: list[Any] = [
    *(None, True, 1, 1.0, "1", b"1", "", (), [], {}, [1], (1,), [[1]], {"1": 1}, {1: 1}, {1}),
    *(slice(None), slice(0, 1), Point(1), Point(2), Open(1), content_digest, source_digest),
    *(torch.zeros(2, 3), torch.zeros(3, 2), torch.zeros(6), torch.zeros(2, 3).double()),
    *(torch.tensor(0.0), torch.tensor(-0.0), torch.zeros(2, 3).bfloat16(), torch.zeros(0)),
    *(
        torch.float32,
        torch.device("cpu"),
        ["a", "b"],
        ["ab"],
        ["a", ["b"]],
        Point([1]),
        Point((1,)),
    ),
]


def test_other_content_has_another_digest() -> None:
    for one, other in combinations(DIFFERENT, 2):
        assert content_digest(one) != content_digest(other), (one, other)
    assert content_digest("a", "b") != content_digest("ab")


def test_the_same_content_has_the_same() -> None:
    wide = torch.arange(6.0).view(2, 3)
    for one, other in (
        (wide.T, wide.T.contiguous()),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
        ({3, 1}, {1, 3}),
        (Point(wide), Point(wide.clone())),
        (Open([1]), Open([1])),
    ):
        assert content_digest(one) == content_digest(other)


def test_what_can_t_be_looked_into() -> None:
    with pytest.raises(TypeError, match="no digest of a generator"):
        content_digest(number for number in ())


def test_another_process_has_the_same_digests() -> None:
    """However it orders what is in sets."""
    values = {"b": frozenset("steer"), "a": [1.5, None]}
    script = (
        "from steer.disk.content import content_digest, source_digest\n"
        "print(content_digest({'a': [1.5, None], 'b': frozenset('steer')}), source_digest())"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "7", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == [content_digest(values), source_digest()]
