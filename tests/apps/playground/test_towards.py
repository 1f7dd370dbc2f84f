"""A word becomes one group of edits, with one amount, or an answer that says why not."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest

from apps.playground.handlers import Handlers
from apps.playground.state.desk import Desk
from apps.playground.state.form import read_form
from apps.playground.state.groups import Group, units
from apps.playground.state.setup import MOST_ROWS, Row, Setup
from apps.playground.studio.studio import Shelf, Studio
from apps.playground.towards.search import rows_of
from steer import Add, Clamp, SteerError
from steer.concepts.result import Concept
from tests.support import tiny
from tests.support.concepts import tiny_concept

SESSION: Any = SimpleNamespace(session_hash="me")


@pytest.fixture
def do() -> Handlers:
    model = tiny.tiny_model("llama")
    return Handlers(Studio(model, Shelf(model, [], [tiny.dictionary()])))


def answers(monkeypatch: pytest.MonkeyPatch, found: Callable[[Any], Concept]) -> None:
    """Let the search find this. It has tests of its own."""

    def concept(model: Any, word: str, *, dictionary: Any, progress: Any) -> Concept:
        progress("examples", 1, 2)
        return found(progress)

    monkeypatch.setattr("apps.playground.towards.search.concept", concept)


def group_form(rows: tuple[Row, ...], amount: float) -> list[dict[str, Any]]:
    return [{"rows": [row.to_dict() for row in rows], "amount": amount, "muted": False}]


def test_a_word_takes_the_place_of_the_demonstration(
    do: Handlers, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers(monkeypatch, lambda _: tiny_concept(word="ocean"))
    demo = Desk(do.first().rows)
    *before, (unsaid, added) = do.towards(SESSION, 1, "ocean", "tiny")
    assert any("examples" in str(at[0]) for at in before)
    assert unsaid == gr.skip(), "nothing is said to be in the edits before it is"
    said, left, desk, html = do.place(added, demo)
    assert left == ()
    assert "“ocean”: works" in said
    assert [row.edit for row in desk.rows] == [Add(5, 2.0), Add(9, 1.0)]
    assert html.count('class="edit group') == 1
    assert html.count('data-field="amount"') == 1
    for word in ("weak", "visible", "breaking"):
        assert f">{word}</button>" in html
    assert desk.undo().rows == demo.rows
    assert not do.studio.jobs


def test_nothing_found_changes_nothing(do: Handlers, monkeypatch: pytest.MonkeyPatch) -> None:
    said = {"word": "florbic", "verdict": "none here", "reason": "no more than chance"}
    answers(monkeypatch, lambda _: replace(tiny_concept(**said), intervention=None))
    demo = Desk(do.first().rows)
    *_, (said, rows) = do.towards(SESSION, 1, "florbic", "tiny")
    assert "none here. no more than chance. The edits are as they were." in said
    assert do.place(rows, demo) == (gr.skip(),) * 4


def test_what_was_edited_meanwhile_stays(do: Handlers) -> None:
    """A search takes a minute, and nobody waits for it."""
    meanwhile = Desk((Row("tiny", Clamp(7, 1.0)),))
    new = rows_of(tiny_concept(word="ocean"))
    _, _, desk, _ = do.place((new, "in the edits"), meanwhile)
    assert [row.edit for row in desk.rows] == [Clamp(7, 1.0), Add(5, 2.0), Add(9, 1.0)]
    full = Desk((Row("tiny", Clamp(7, 1.0)),) * MOST_ROWS)
    said, *rest = do.place((new, "in the edits"), full)
    assert rest == [(), gr.skip(), gr.skip()]
    assert "error" in said
    assert "in the edits" not in said


def test_a_mistake_is_a_sentence(do: Handlers) -> None:
    for word, says in (("", "a concept is a word"), ("a b c d e f g", "words")):
        *_, (said, _) = do.towards(SESSION, 1, word, "tiny")
        assert says in said
        assert "error" in said


def test_a_search_that_is_stopped_ends(do: Handlers, monkeypatch: pytest.MonkeyPatch) -> None:
    """At its next report, and the edits are as they were."""
    ended = threading.Event()

    def for_ever(progress: Any) -> Concept:
        try:
            while True:
                progress("trials", 1, 2)
        finally:
            ended.set()

    answers(monkeypatch, for_ever)
    course = do.towards(SESSION, 1, "ocean", "tiny")
    next(course)
    do.cancel(SESSION, 1)
    *_, (said, _) = course
    assert "Stopped" in said
    assert ended.wait(60)


def test_one_amount_moves_all_of_a_group() -> None:
    rows = rows_of(tiny_concept(word="ocean"))
    half = read_form(group_form(rows, 0.2))
    assert [row.edit for row in half] == [Add(5, 1.0), Add(9, 0.5)]
    assert {row.group.dose for row in half if row.group} == {0.2}
    again = read_form(group_form(half, 0.4))
    assert [row.edit for row in again] == [row.edit for row in rows]
    assert read_form(group_form(rows, 0.4)) == rows
    for wrong in (0, -1, "", "much"):
        with pytest.raises(SteerError, match=r"edit 1: the (dose|amount)"):
            read_form(group_form(rows, wrong))  # type: ignore[arg-type]


def test_a_group_is_one_edit(do: Handlers) -> None:
    """To mute, to remove, to count and to colour."""
    rows = (Row("tiny", Clamp(3, 1.0)), *rows_of(tiny_concept(word="ocean")))
    assert [len(unit) for unit in units(rows)] == [1, 2]
    form = [_form(rows[0]), *group_form(rows[1:], 0.4)]
    event: Any = SimpleNamespace(_data={"act": "mute", "form": form, "number": 1})
    desk = do.act(event, Desk(rows), "tiny")[0]
    assert [row.muted for row in desk.rows] == [False, True, True]
    event._data["act"] = "remove"
    assert do.act(event, Desk(rows), "tiny")[0].rows == rows[:1]
    assert len(do._labels(Setup("x", rows=rows))) == 2
    group = Group("many", 0.4, 0.4, 0.6)
    many = tuple(Row("tiny", Add(n, 1.0), group=group) for n in range(MOST_ROWS + 5))
    assert Setup("x", rows=many).active == many
    assert Setup.from_fragment(Setup("x", rows=rows).to_fragment()).rows == rows


def _form(row: Row) -> dict[str, Any]:
    from tests.apps.playground.test_state import form

    return form(row)


@pytest.mark.parametrize(
    "group", [3, {}, {"word": "", "dose": 1, "visible": 1, "breaking": 1}, {"word": "w", "dose": 0}]
)
def test_a_group_that_makes_no_sense_is_a_sentence(group: Any) -> None:
    plain = {**Row("tiny", Add(5, 1.0)).to_dict(), "group": group}
    with pytest.raises(SteerError):
        Row.from_dict(plain)
