"""Requests of lm-eval's three kinds, for the tiny models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lm_eval.api.instance import Instance

Kind = str

PAIRS = [
    ("w5 w6 w7", " w8 w9"),
    ("w5 w6", " w8"),
    ("w5 w6", " w9"),
    ("w20", " w3 w4 w5 w6"),
    ("", "w7 w9"),
    ("w8 w5 w4 w4 w3 w5 w31", " w9"),
    ("w44 w45 " * 40, " w46 w47"),
]
"""One text is too long, some share a row, one has no context."""
TEXTS = [("w5 w33 " * 50,), ("w7 w6 w5",)]
STOP = {"until": ["w40"], "max_gen_toks": 9}
CONTEXTS = [("w5 w6 w7", STOP), ("w9", STOP), ("w60 w61 w62 w63 w64", STOP)]
REQUESTS: dict[Kind, Sequence[tuple[Any, ...]]] = {
    "loglikelihood": PAIRS,
    "loglikelihood_rolling": TEXTS,
    "generate_until": CONTEXTS,
}


def ask(lm: Any, kind: Kind, arguments: Sequence[tuple[Any, ...]] | None = None) -> list[Any]:
    """The answers of a model type to requests of a kind."""
    given = REQUESTS[kind] if arguments is None else arguments
    requests = [Instance(kind, {}, each, number) for number, each in enumerate(given)]
    answers: list[Any] = getattr(lm, kind)(requests, disable_tqdm=True)
    return answers
