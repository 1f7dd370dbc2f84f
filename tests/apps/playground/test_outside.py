"""States that come from outside: what they change, and what is there already stays."""

from __future__ import annotations

import json

import gradio as gr

from apps.playground.handlers import Handlers
from apps.playground.outside import boxes
from apps.playground.state.desk import Desk
from apps.playground.state.examples import BEGIN
from apps.playground.state.setup import MOST_ROWS, Row, Setup
from steer import Ablate, Clamp
from tests.apps.playground.clicks import SESSION

LINKED = Setup("w3 w4", rows=(Row("tiny", Ablate(5)),), seed=9)
MINE = Row("tiny", Clamp(7, "1x max"))


def test_what_the_page_shows_at_first_is_not_sent_again(do: Handlers) -> None:
    session, desk, rows, held, said = do.open(SESSION, "", Desk())
    assert session == "me"
    assert desk.rows == do.first().rows
    assert do.untouched(desk)
    assert "data-row" in rows
    assert held == said == ""


def test_a_link_fills_what_holds_what_the_page_began_with(do: Handlers) -> None:
    _, desk, _, held, said = do.open(SESSION, LINKED.to_fragment(), Desk())
    assert desk == Desk(LINKED.rows)
    assert json.loads(held) == {"from": boxes(BEGIN), "to": boxes(LINKED)}
    assert said == ""


def test_edits_that_were_made_before_the_answer_stay(do: Handlers) -> None:
    """After those of a link, and in the place of the demonstration."""
    begun = Desk().change((MINE,))
    opened = do.open(SESSION, LINKED.to_fragment(), begun)[1]
    assert opened.rows == (*LINKED.rows, MINE)
    assert opened.undo().rows == (MINE,)
    _, desk, rows, held, _ = do.open(SESSION, "", begun)
    assert desk == rows == gr.skip()
    assert held == ""


def test_a_link_that_is_wrong_is_told_and_changes_nothing(do: Handlers) -> None:
    full = Setup("x", rows=(MINE,) * MOST_ROWS).to_fragment()
    elsewhere = Setup("x", rows=(Row("/etc", Ablate(5)),)).to_fragment()
    for fragment, desk, says in (
        ("nonsense!", Desk(), "can&#x27;t be read"),
        (elsewhere, Desk(), "not one of this app"),
        (full, Desk().change((MINE,)), "at most 12"),
    ):
        _, opened, _, held, said = do.open(SESSION, fragment, desk)
        assert opened == (gr.skip() if desk.rows else Desk(do.first().rows))
        assert held == ""
        assert says in said


def test_json(do: Handlers) -> None:
    now = ["typed", True, 1, 0.0, 1.0, 2, False]
    desk, rows, held, _ = do.load(LINKED.to_json(), Desk((MINE,)), *now)
    assert desk.rows == LINKED.rows
    assert desk.undo().rows == (MINE,)
    assert "data-row" in rows
    assert json.loads(held) == {"from": now, "to": boxes(LINKED)}
    *_, held, said = do.load("{", Desk(), *now)
    assert held == ""
    assert "not JSON" in said
