"""A single text or token, where several may be given, is one of them and not its letters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

import steer
from steer.quality.core_metrics import full_check
from tests.support import tiny

LONG = "w7 w31 w12 w55 w40 w9 " * 20
EDIT = steer.Intervention("tiny", [steer.Clamp(5, 4.0)])
LATER = replace(tiny.dictionary("resid_post.2", seed=9), name="later")

READS: dict[str, Callable[[steer.Model, Any, Any], Any]] = {
    "check": lambda model, text, token: model.check(tiny.dictionary(), text).to_dict(),
    "full_check": lambda model, text, token: full_check(model, tiny.dictionary(), text).to_dict(),
    "error_split": lambda model, text, token: steer.error_split(
        model, text, EDIT, "later", dictionaries=[tiny.dictionary(), LATER]
    ).kl_total.tolist(),
    "dose_response": lambda model, text, token: repr(
        steer.dose_response(model, text, tiny.dictionary(), 5, [1.0], neutral=text)
    ),
    "watch": lambda model, text, token: (
        model.generate(
            tiny.PROMPT, EDIT, watch=token, dictionaries=[tiny.dictionary()], max_new_tokens=2
        ).logprobs
    ),
}


@pytest.mark.parametrize("read", READS.values(), ids=READS.keys())
def test_one_is_a_list_of_one(
    read: Callable[[steer.Model, Any, Any], Any], llama: steer.Model
) -> None:
    short = LONG[: tiny.CONTEXT * 2]
    text = LONG if read in (READS["check"], READS["full_check"]) else short
    assert read(llama, text, "w9") == read(llama, [text], ["w9"])
