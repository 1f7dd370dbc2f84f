"""Conditions, schedules and positions in words: what is shown is read back, and means the same."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steer import Active, After, Decay, First, InterventionError, Ramp, Seen
from steer.edits.conditions import And, Condition, Not, Or
from steer.edits.phrases import (
    parse_condition,
    parse_positions,
    parse_schedule,
    show_condition,
    show_positions,
    show_schedule,
)
from steer.edits.positions import NAMED, Positions, Rows, Tokens, canonical

leaves: st.SearchStrategy[Condition] = st.builds(
    lambda kind, feature, above: kind(feature, above),
    st.sampled_from([Active, Seen]),
    st.integers(0, 99_999),
    st.floats(-1e6, 1e6),
)


def _grow(inner: st.SearchStrategy[Condition]) -> st.SearchStrategy[Condition]:
    several = st.lists(inner, min_size=2, max_size=3).map(tuple)
    return st.one_of(st.builds(Not, inner), st.builds(And, several), st.builds(Or, several))


@given(st.recursive(leaves, _grow, max_leaves=8))
def test_what_is_shown_is_read_back(condition: Condition) -> None:
    assert parse_condition(show_condition(condition)) == condition


@pytest.mark.parametrize(
    ("text", "means"),
    [
        ("7", Active(7)),
        ("#7", Active(7)),
        ("active 7 > 2.5", Active(7, 2.5)),
        ("seen 3", Seen(3)),
        ("SEEN 3 > -1e-2", Seen(3, -0.01)),
        ("7&~3", And((Active(7), Not(Active(3))))),
        ("1 or 2 and 3", Or((Active(1), And((Active(2), Active(3)))))),
        ("(1 or 2) and 3", And((Or((Active(1), Active(2))), Active(3)))),
        ("not not 4", Not(Not(Active(4)))),
    ],
)
def test_what_is_typed(text: str, means: Condition) -> None:
    assert parse_condition(text) == means


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "a feature's number was expected and the text ends"),
        ("7 >", "an activation was expected and the text ends"),
        ("7 8", "found '8'"),
        ("7.5", "found '7.5'"),
        ("(7", "a closing parenthesis"),
        ("7 and", "the text ends"),
        ("7 = 3", "found '= 3'"),
        ("longer", "found 'longer'"),
    ],
)
def test_what_is_not_understood(text: str, says: str) -> None:
    with pytest.raises(InterventionError, match="is not understood") as error:
        parse_condition(text)
    assert says in str(error.value)


@pytest.mark.parametrize("schedule", [First(5), After(3), Ramp(10), Decay(8)])
def test_schedules(schedule: First | After | Ramp | Decay) -> None:
    assert parse_schedule(show_schedule(schedule)) == schedule
    assert parse_schedule(f"  {show_schedule(schedule).upper()} ") == schedule


@pytest.mark.parametrize("text", ["", "first", "first x", "first -1", "sometimes 3", "first 0"])
def test_schedules_that_are_none(text: str) -> None:
    with pytest.raises(InterventionError, match="first"):
        parse_schedule(text)


places = st.integers(-99, 99)
slices = st.builds(slice, places | st.none(), places | st.none(), st.integers(1, 9) | st.none())
tokens = st.lists(st.text(min_size=1) | st.integers(0, 99_999), min_size=1, max_size=3)
positions: st.SearchStrategy[Positions] = st.one_of(
    st.sampled_from(NAMED),
    places,
    slices,
    st.lists(places, min_size=2, max_size=4),
    tokens.map(lambda several: Tokens(*several)),
)


@given(positions)
def test_positions(given: Positions) -> None:
    assert parse_positions(show_positions(given)) == canonical(given)


@pytest.mark.parametrize(
    ("text", "means"),
    [
        ("all", "all"),
        (" 3 ", 3),
        ("-1", -1),
        ("2:5", "2:5"),
        ("1:", "1:"),
        ("::2", "::2"),
        ("1, 4,7", (1, 4, 7)),
        ('tokens " a, b", 7', Tokens(" a, b", 7)),
        ('token " cat"', Tokens(" cat")),
    ],
)
def test_positions_as_typed(text: str, means: object) -> None:
    assert parse_positions(text) == means


@pytest.mark.parametrize("text", ["", "everywhere", "--5", "²", "1,", "2;5", "a:b", "1.5"])
def test_positions_that_are_none(text: str) -> None:
    with pytest.raises(InterventionError, match=r"not understood; write all, .*2:5"):
        parse_positions(text)


@pytest.mark.parametrize("text", ["tokens", "tokens cat", "tokens ,", "tokens 'cat'"])
def test_tokens_without_quotes(text: str) -> None:
    with pytest.raises(InterventionError, match=r'write them in quotes.*" cat"'):
        parse_positions(text)


@pytest.mark.parametrize(
    ("text", "says"),
    [("1:5:0", "step must be positive"), ("tokens 1.5", "texts or ids"), ('tokens ""', "texts or")],
)
def test_positions_that_no_edit_takes(text: str, says: str) -> None:
    with pytest.raises(InterventionError, match=says):
        parse_positions(text)


def test_positions_of_several_rows_have_no_words() -> None:
    with pytest.raises(InterventionError, match="several rows"):
        show_positions(Rows(1, "all"))
