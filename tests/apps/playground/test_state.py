"""The app's state: its forms come back as they were, and what is wrong is a sentence."""

from __future__ import annotations

import base64
import json
import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.playground.state.desk import Desk
from apps.playground.state.form import USUAL, amount_of, read_form
from apps.playground.state.setup import KINDS, Row, Setup, read_rows
from steer import Ablate, Active, Add, Clamp, First, Ramp, Rows, Scale, Seen, SteerError, Tokens
from steer.edits import Edit
from steer.edits.phrases import show_condition, show_positions, show_schedule

D = "smollm2-135m/resid_post.20"
AWKWARD = "<b>*hi*</b> 🏴󠁧󠁢󠁥󠁮󠁧󠁿 שלום\n${x} {{y}} ' \" \\ `"

tokens = st.one_of(st.text(min_size=1, max_size=4), st.integers(0, 999))
edits: st.SearchStrategy[Edit] = st.one_of(
    st.builds(Clamp, st.integers(0, 9999), st.sampled_from(["2x max", 3.5, "0.5x q99"])),
    st.builds(Add, st.integers(0, 9999), st.floats(-1e6, 1e6)),
    st.builds(Scale, st.integers(0, 9999), st.floats(-10, 10)),
    st.builds(Ablate, st.integers(0, 9999), positions=st.sampled_from(["all", 3, "2:5", (1, 4)])),
    st.just(Clamp(3, "2x max", when=Active(7, above=1.5) & ~Seen(8))),
    st.just(Clamp(3, "2x max", schedule=Ramp(5))),
    st.builds(Ablate, st.just(4), positions=st.builds(Tokens, tokens, tokens)),
)
setups = st.builds(
    Setup,
    st.text(max_size=60),
    chat=st.booleans(),
    rows=st.lists(st.builds(Row, st.just(D), edits, st.booleans()), max_size=4).map(tuple),
    max_new_tokens=st.integers(1, 400),
    temperature=st.floats(0, 5),
    seed=st.integers(0, 2**32 - 1),
    in_order=st.booleans(),
)


@given(setups)
def test_json_and_link_come_back(setup: Setup) -> None:
    assert Setup.from_json(setup.to_json()) == setup
    assert Setup.from_fragment(setup.to_fragment()) == setup


def test_awkward_prompt_comes_back() -> None:
    setup = Setup(AWKWARD)
    assert Setup.from_fragment(setup.to_fragment()).prompt == AWKWARD


def test_a_link_is_safe_in_an_address() -> None:
    assert set(Setup(AWKWARD * 20).to_fragment()) <= set(
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    )


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "not JSON"),
        ("[]", "JSON object"),
        ('{"prompt": 3}', "JSON object"),
        ('{"prompt": "x", "colour": 1}', "no 'colour'"),
        ('{"prompt": "x", "version": 2}', "version 2"),
        ('{"prompt": "x", "temperature": "hot"}', "temperature"),
        ('{"prompt": "x", "temperature": NaN}', "NaN"),
        ('{"prompt": "x", "temperature": true}', "temperature True"),
        ('{"prompt": "x", "chat": "false"}', "chat 'false'"),
        ('{"prompt": "x", "in_order": 0}', "in_order 0"),
        ('{"prompt": "x", "seed": 1, "seed": 2}', "'seed' is there twice"),
        ('{"prompt": "x", "rows": [{"dictionary": "d", "muted": "false"}]}', "muted 'false'"),
        ('{"prompt": "x", "max_new_tokens": 100000}', "1 to 400"),
        ('{"prompt": "x", "rows": 3}', "list"),
        ('{"prompt": "x", "rows": [3]}', "edit 1"),
        ('{"prompt": "x", "rows": [{"dictionary": "d", "kind": "melt"}]}', "melt"),
        ('{"prompt": "x", "rows": [{"dictionary": "d", "kind": "clamp", "feature": 1}]}', "edit 1"),
        ("[" * 100_000, "not JSON"),
    ],
)
def test_bad_json_is_a_sentence(text: str, says: str) -> None:
    with pytest.raises(SteerError, match=says):
        Setup.from_json(text)


@pytest.mark.parametrize("text", ["?", "AAAA", "x" * 50, "é"])
def test_bad_link_is_a_sentence(text: str) -> None:
    with pytest.raises(SteerError):
        Setup.from_fragment(text)


def test_a_link_that_unpacks_to_gigabytes_is_refused() -> None:
    bomb = base64.urlsafe_b64encode(zlib.compress(b" " * 20_000_000, 9)).decode()
    with pytest.raises(SteerError, match="too long"):
        Setup.from_fragment(bomb)


def test_limits() -> None:
    with pytest.raises(SteerError, match="characters"):
        Setup("x" * 50_000)
    with pytest.raises(SteerError, match="at most 12"):
        Setup("x", rows=(Row(D, Ablate(1)),) * 13)


def test_muted_rows_are_kept_and_not_applied() -> None:
    setup = Setup("x", rows=(Row(D, Ablate(1)), Row(D, Ablate(2), muted=True), Row("e", Ablate(3))))
    assert [intervention.dictionary for intervention in setup.interventions()] == [D, "e"]
    assert [len(intervention.edits) for intervention in setup.interventions()] == [1, 1]
    assert len(Setup.from_json(setup.to_json()).rows) == 3


def form(row: Row, **changes: Any) -> dict[str, Any]:
    amount, unit = amount_of(row.edit)
    return {
        "row": json.loads(json.dumps(row.to_dict())),
        "kind": row.edit.kind,
        "amount": 2 if amount is None else amount,
        "unit": "max" if unit in ("", "times") else unit,
        "positions": show_positions(row.edit.positions),
        "when": show_condition(row.edit.when) if row.edit.when else "",
        "schedule": show_schedule(row.edit.schedule) if row.edit.schedule else "",
        "muted": row.muted,
        **changes,
    }


@given(st.lists(st.builds(Row, st.just(D), edits, st.booleans()), max_size=4))
def test_an_untouched_form_gives_the_same_rows(rows: list[Row]) -> None:
    read = read_form([form(row) for row in rows])
    assert [row.edit.kind for row in read] == [row.edit.kind for row in rows]
    assert [row.muted for row in read] == [row.muted for row in rows]
    assert [row.edit.positions for row in read] == [row.edit.positions for row in rows]
    assert [row.edit.when for row in read] == [row.edit.when for row in rows]
    assert [row.edit.schedule for row in read] == [row.edit.schedule for row in rows]


def test_a_condition_and_a_schedule_are_typed_and_taken_away() -> None:
    plain = Row(D, Clamp(7, "3x max"))
    (row,) = read_form([form(plain, when="8 > 2 and not seen 9", schedule="first 5")])
    assert row.edit == Clamp(7, "3x max", when=Active(8, above=2) & ~Seen(9), schedule=First(5))
    (row,) = read_form([form(row, when=" ", schedule="")])
    assert row == plain


@pytest.mark.parametrize(("field", "typed"), [("when", "words"), ("schedule", "now and then")])
def test_what_is_not_understood_is_a_sentence(field: str, typed: str) -> None:
    with pytest.raises(SteerError, match=f"{typed}.*is not understood"):
        read_form([form(Row(D, Clamp(7, "3x max")), **{field: typed})])


def test_changing_the_kind_keeps_the_amount() -> None:
    (row,) = read_form([form(Row(D, Clamp(7, "3x max", when=Active(1))), kind="add")])
    assert row.edit == Add(7, "3x max", when=Active(1))
    (row,) = read_form([form(Row(D, Clamp(7, "3x max")), kind="scale")])
    assert row.edit == Scale(7, 3)
    (row,) = read_form([form(Row(D, Clamp(7, "3x max")), kind="ablate")])
    assert row.edit == Ablate(7)


def test_a_share_of_the_norm_is_no_factor() -> None:
    (row,) = read_form([form(Row(D, Clamp(7, "0.4x norm")), kind="add")])
    assert row.edit == Add(7, "0.4x norm")
    (row,) = read_form([form(Row(D, Clamp(7, "0.4x norm")), kind="scale")])
    assert row.edit == Scale(7, USUAL["times"])
    for before in (Scale(7, 5.0), Ablate(7)):
        (row,) = read_form([form(Row(D, before), kind="clamp", unit="norm")])
        assert row.edit == Clamp(7, f"{USUAL['norm']}x norm")


def test_in_order_is_in_every_intervention() -> None:
    rows = (Row(D, Clamp(7, 1.0)), Row(D, Scale(7, 2.0)))
    assert Setup("x", rows=rows, in_order=True).interventions()[0].conflicts == "in_order"
    assert Setup("x", rows=rows).interventions()[0].conflicts == "refuse"


@pytest.mark.parametrize("before", KINDS)
@pytest.mark.parametrize("after", KINDS)
def test_every_kind_becomes_every_other(before: str, after: str) -> None:
    (row,) = read_form([form(Row(D, Clamp(7, "3x max", positions="last")), kind=before)])
    (row,) = read_form([form(row, kind=after)])
    assert (row.edit.kind, row.edit.positions) == (after, "last")


@pytest.mark.parametrize("amount", ["", "NaN", "Infinity", None, "much"])
def test_a_bad_amount_is_a_sentence(amount: Any) -> None:
    with pytest.raises(SteerError, match="not a finite number"):
        read_form([form(Row(D, Clamp(7, "3x max")), amount=amount)])


def test_bad_positions_are_a_sentence() -> None:
    with pytest.raises(SteerError, match="edit 1: the tokens 'everywhere' are not understood"):
        read_form([form(Row(D, Clamp(7, 1.0)), positions="everywhere")])


@pytest.mark.parametrize(
    ("typed", "means"),
    [('tokens " a, b", 7', Tokens(" a, b", 7)), ("1, 4,7", (1, 4, 7)), (" ", "all")],
)
def test_positions_as_typed(typed: str, means: object) -> None:
    (row,) = read_form([form(Row(D, Clamp(7, 1.0)), positions=typed)])
    assert row.edit.positions == means


@pytest.mark.parametrize("typed", ["tokens", "tokens cat", "tokens ,"])
def test_tokens_without_quotes_are_a_sentence(typed: str) -> None:
    with pytest.raises(SteerError, match=r'write them in quotes.*" cat"'):
        read_form([form(Row(D, Clamp(7, 1.0)), positions=typed)])


def test_positions_by_row_are_for_one_prompt() -> None:
    assert Row(D, Ablate(1, positions=Rows("2:5"))) == Row(D, Ablate(1, positions="2:5"))
    with pytest.raises(SteerError, match="for the 2 rows of one batch"):
        read_rows([{"dictionary": D, **Ablate(1, positions=Rows(1, "all")).to_dict()}])


def test_undo() -> None:
    one, two = (Row(D, Ablate(1)),), (Row(D, Ablate(2)),)
    desk = Desk().change(one).change(two).change(two)
    assert desk.undo().rows == one
    assert desk.undo().undo().undo() == Desk()


def test_rows_say_which_is_wrong() -> None:
    good = {"dictionary": D, "kind": "ablate", "feature": 1}
    with pytest.raises(SteerError, match="edit 2"):
        read_rows([good, {**good, "feature": -1}])
