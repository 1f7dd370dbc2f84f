"""Which tokens an edit touches: the prompt has six, and three are read after it."""

from __future__ import annotations

from typing import Any

import pytest

import steer
from steer.edits.positions import Positions
from tests.support import tiny

LENGTH, READ = 6, 9
TEXT = list(range(READ))

CASES: dict[str, tuple[Positions, list[int]]] = {
    "all": ("all", TEXT),
    "prompt": ("prompt", TEXT[:LENGTH]),
    "generated": ("generated", TEXT[LENGTH - 1 :]),
    "last": ("last", [5]),
    "0": (0, [0]),
    "7": (7, [7]),
    "beyond": (40, []),
    "-1": (-1, [5]),
    "-6": (-6, [0]),
    "before the start": (-7, []),
    ":": (slice(None), TEXT),
    "2:5": (slice(2, 5), TEXT[2:5]),
    "2:": (slice(2, None), TEXT[2:]),
    ":4": (slice(None, 4), TEXT[:4]),
    "1::3": (slice(1, None, 3), TEXT[1::3]),
    "::2": ("::2", TEXT[::2]),
    "-2:": (slice(-2, None), TEXT[4:]),
    ":-2": (slice(None, -2), TEXT[:4]),
    "-4:-1:2": ("-4:-1:2", [2, 4]),
    "empty": (slice(5, 2), []),
    "list": ([1, -1, 7], [1, 5, 7]),
    "tuple": ((0,), [0]),
    "range": (range(3), [0, 1, 2]),
}


@pytest.mark.parametrize(("positions", "expected"), CASES.values(), ids=CASES.keys())
def test_what_is_touched(positions: Positions, expected: list[int]) -> None:
    run = tiny.tiny_model("gpt2").generate(
        tiny.PROMPT,
        steer.Intervention("tiny", [steer.Clamp(5, 50, positions=positions)]),
        dictionaries=[tiny.dictionary()],
        max_new_tokens=4,
        temperature=0,
        if_silent="ignore",
    )
    assert len(run.ids) == 4
    entry = run.receipt[0]
    assert list(entry.acted_tokens) == expected
    assert entry.touched == len(expected)


@pytest.mark.parametrize("positions", ["last", -1, "generated", slice(-1, None)])
def test_the_end_is_each_rows_own(positions: Positions, model: steer.Model) -> None:
    effect = steer.logit_effect(
        model,
        tiny.PROMPTS,
        steer.Intervention("tiny", [steer.Clamp(5, 50, positions=positions)]),
        dictionaries=[tiny.dictionary()],
    )
    ends = [(len(prompt.split()) - 1,) for prompt in tiny.PROMPTS]
    assert [receipt[0].acted_tokens for receipt in effect.receipts] == ends


BAD: list[Any] = ["", "first", "ALL", "a:b", "1:2:3:4", "::0", "1-2", True, [], (), [1.5], ["1"]]
BAD += [[True], 2.5, None, {}, ...]


@pytest.mark.parametrize("positions", BAD, ids=repr)
def test_bad_positions(positions: Any) -> None:
    with pytest.raises(steer.InterventionError):
        steer.Ablate(1, positions=positions)


def test_slices_are_stored_as_text() -> None:
    assert steer.Ablate(1, positions=slice(None, 5)).positions == ":5"
    assert steer.Ablate(1, positions=slice(1, 5, 2)).positions == "1:5:2"
