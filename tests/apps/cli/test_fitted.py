"""What is printed fits 40, 80 and 120 columns with no name, number or peak cut, without colours."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from apps.cli.fitted import HARD, Fitted
from apps.cli.output import table
from apps.cli.views.context import Around

WIDTHS = (40, 80, 120)
NAME = "smollm2-135m/resid_post.10"


def printed(what: object, width: int) -> str:
    """As into a pipe of this width."""
    console = Console(width=width, force_terminal=False)
    with console.capture() as captured:
        console.print(what, markup=False, highlight=False)
    return captured.get()


words = st.text("abcdefgh./-0123456789", min_size=1, max_size=28)
cells = st.lists(words, min_size=1, max_size=5).map(" ".join)


@given(
    rows=st.integers(1, 9).flatmap(
        lambda n: st.lists(st.lists(cells, min_size=n, max_size=n), min_size=1, max_size=4)
    ),
    width=st.sampled_from(WIDTHS),
)
def test_no_word_is_broken_at_any_width(rows: list[list[str]], width: int) -> None:
    heads = [f"c{number}" for number in range(len(rows[0]))]
    said = printed(Fitted(heads, rows, "title"), width)
    assert max(map(len, said.splitlines())) <= width
    assert "…" not in said
    left = said.split()
    for row in rows:
        for cell in row:
            for word in cell.split():
                assert word in left
                left.remove(word)


@pytest.mark.parametrize("width", WIDTHS)
def test_bounds_stay_together(width: int) -> None:
    rows = [
        {"child": NAME, "parent": NAME, "share": 0.0815, "share_low": 0.0278, "share_high": 0.141}
    ]
    said = printed(table(rows, "shares"), width)
    assert "[0.0278, 0.141]" in said
    assert said.count(NAME) == 2
    assert HARD not in said


def test_a_token_of_white_space_is_seen() -> None:
    assert "\\n␣" in printed(table([{"token": "\n ", "id": 5}]), 80)


def test_no_rows() -> None:
    assert table([], "features") == "features: none"


TOKENS = [f" word{number}" for number in range(40)]


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("peak", [0, 3, 20, 39])
def test_the_peak_is_marked_and_in_the_middle(width: int, peak: int) -> None:
    activations = [0.5 if place != peak else 74.61 for place in range(len(TOKENS))]
    (line,) = printed(Around(TOKENS, activations), width).splitlines()
    assert len(line) <= width
    assert line.startswith("   74.6  ")
    assert f"« word{peak}»" in line
    before, _, after = line[9:].partition(f"« word{peak}»")
    if peak == 20:
        assert abs(len(before) - len(after)) <= 12
    for side in (before, after):  # whole tokens
        assert set(side.replace("…", "").split()) <= {token.strip() for token in TOKENS}


def test_small_scales_keep_their_digits() -> None:
    assert printed(Around([" a"], [0.00123]), 80).startswith("0.00123  ")
