"""Positions against Python's own slices, and whether two specs can mean one token."""

from __future__ import annotations

from itertools import product

import pytest
import torch

from steer.edits.overlap import may_overlap
from steer.edits.positions import Positions, Tokens, canonical, select
from steer.errors import InterventionError
from steer.lm.span import Span

BOUNDS = (None, *range(-7, 8))
STEPS = (None, 1, 2, 3)


def marked(positions: Positions, prompt: int, more: int = 0) -> set[int]:
    """Positions that are selected of a prompt of so many tokens and `more` generated ones."""
    ids = torch.arange(10, 10 + prompt).unsqueeze(0)
    span = Span.prefill(ids, torch.ones_like(ids))
    found = select(canonical(positions), span)[0].nonzero().flatten().tolist()
    for step in range(1, more + 1):
        later = span.step(step, torch.full((1, 1), 9 + prompt + step))
        found += later.absolute[select(canonical(positions), later)].tolist()
    return set(found)


@pytest.mark.parametrize("length", range(1, 7))
@pytest.mark.parametrize("step", STEPS)
def test_a_slice_selects_what_python_selects(length: int, step: int | None) -> None:
    for start, stop in product(BOUNDS, BOUNDS):
        wanted = set(range(length)[start:stop:step])
        assert marked(slice(start, stop, step), length) == wanted, (start, stop, step)


@pytest.mark.parametrize("spec", [slice(0, 3, 0), slice(3, 0, -1), "::0", "::-2", "5:1:-1"])
def test_a_step_that_is_not_positive_is_refused(spec: slice | str) -> None:
    with pytest.raises(InterventionError, match="a slice's step must be positive"):
        canonical(spec)


SPECS: list[Positions] = [
    "all", "prompt", "generated", "last", 0, 2, -1, -2, -3, [1, 3], [-2, 6], "0:2", "2:4", ":-1",
    "-2:", "-3:-1", "1::2", "::2", "1::3", "4:", ":4", "3:5", "1:8:6", "0:10:4", "5:2", "2:-2",
]  # fmt: skip


def meet(one: Positions, other: Positions) -> bool:
    """By trying prompts of up to twelve tokens, with eight generated ones."""
    return any(marked(one, n, 8) & marked(other, n, 8) for n in range(1, 13))


@pytest.mark.parametrize("one", SPECS, ids=str)
def test_overlap_is_what_trying_finds(one: Positions) -> None:
    for other in SPECS:
        assert may_overlap(one, other) == meet(one, other), other
        assert may_overlap(other, one) == may_overlap(one, other)


def test_a_step_from_the_prompts_end_is_never_said_to_miss() -> None:
    """Its phase depends on the prompt's length: any overlap is found, and perhaps one too many."""
    for other in SPECS:
        for one in ("-3::2", "-5:-1:3"):
            assert may_overlap(one, other) or not meet(one, other)


def test_tokens_are_told_apart_by_id() -> None:
    assert not may_overlap(Tokens(5, 6), Tokens(7))
    assert may_overlap(Tokens(5, 6), Tokens(6))
    assert may_overlap(Tokens("w5"), Tokens(7))  # unresolved: it could be token 7
    assert may_overlap(Tokens(5), "prompt")


def test_progressions_far_out_are_told_apart_at_once() -> None:
    assert not may_overlap(f"0:{10**15}:2", f"1:{10**15}:2")
    assert may_overlap(f"0:{10**15}:6", f"3:{10**15}:9")
    assert not may_overlap(10**9, f":{10**9}")
