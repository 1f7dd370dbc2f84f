"""Clicks without a browser: what they change, and that every mistake is a sentence."""

from __future__ import annotations

import asyncio
import json
import logging
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest

from apps.playground.find.handlers import Pick, sentence
from apps.playground.handlers import Handlers
from apps.playground.state.desk import Desk
from apps.playground.state.setup import Row
from steer import Clamp, DictionaryError
from tests.apps.playground.clicks import OTHER, SAMPLING, SESSION, drawn, event, steered
from tests.apps.playground.test_state import form
from tests.support import tiny


def test_add_mute_remove_undo(do: Handlers) -> None:
    desk = do.act(event("add", feature=5), Desk(), "tiny")[0]
    assert desk.rows == (Row("tiny", Clamp(5, "0.3x norm")),)
    desk = do.act(event("mute", desk.rows, number=0), desk, "tiny")[0]
    assert desk.rows[0].muted
    desk = do.act(event("remove", desk.rows, number=0), desk, "tiny")[0]
    assert desk.rows == ()
    desk = do.act(event("undo"), desk, "tiny")[0]
    assert desk.rows[0].muted


def test_the_first_hit_replaces_the_untouched_demonstration(do: Handlers) -> None:
    """So that what is found is what is seen; an edit that somebody made stays."""
    demo = Desk(do.first().rows)
    found = do.act(event("add", demo.rows, feature=5), demo, "tiny")[0]
    assert [row.edit for row in found.rows] == [Clamp(5, "0.3x norm")]
    assert found.undo().rows == demo.rows
    both = do.act(event("add", found.rows, feature=6), found, "tiny")[0]
    assert len(both.rows) == 2
    moved = (Row("tiny", Clamp(7, "1x max")),)
    kept = do.act(event("add", moved, feature=5), demo, "tiny")[0]
    assert len(kept.rows) == 2


def test_a_feature_twice_is_refused_in_the_words_of_the_page(do: Handlers) -> None:
    rows = (Row("tiny", Clamp(5, 3.0)), Row("tiny", Clamp(5, 8.0)))
    (refused,) = steered(do, rows)
    assert "tick “in order”" in refused.notices
    assert "conflicts=" not in refused.notices
    assert refused.stale
    edits = json.dumps([form(row) for row in rows])
    ordered = do.steer("me", 1, edits, tiny.PROMPT, False, *SAMPLING, True)
    assert "Receipt" in str(asyncio.run(drawn(ordered))[-1].texts)
    assert "data-twice" in do.drawn(Desk(rows))[1]
    assert "data-twice" not in do.drawn(Desk(rows[:1]))[1]


def test_a_slider_changes_the_rows_without_redrawing(do: Handlers) -> None:
    desk = Desk((Row("tiny", Clamp(5, "2x max")),))
    moved = event("change", (Row("tiny", Clamp(5, "3x max")),))
    after, rows, *_ = do.act(moved, desk, "tiny")
    assert after.rows[0].edit == Clamp(5, "3x max")
    assert isinstance(rows, dict)


def test_a_card_is_opened_from_a_row_and_from_a_hit(do: Handlers) -> None:
    desk = Desk((Row("tiny", Clamp(5, "2x max")),))
    assert do.act(event("card", desk.rows, number=0), desk, "tiny")[2] == Pick("tiny", 5)
    assert do.act(event("card", desk.rows, feature=9), desk, "tiny")[2] == Pick("tiny", 9)


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (event("add", feature=9999), "out of range"),
        (event("card", feature=None), "Something went wrong"),
        (SimpleNamespace(_data={"form": [{"row": 1}]}), "edit 1 is not as the page writes it"),
        (SimpleNamespace(_data={"act": "add"}), "must be a list, not NoneType"),
        (event("add", feature=1, dictionary="/etc"), "not one of this app"),
    ],
)
def test_a_bad_click_is_a_sentence(do: Handlers, bad: Any, says: str) -> None:
    desk, *_, said = do.act(bad, Desk(), "tiny")
    assert desk == Desk()
    assert says in said


def test_find(do: Handlers) -> None:
    def searched(words: str) -> str:
        return str(do.search(SESSION, 1, words, "tiny"))

    assert 'data-feature="7"' in searched("7")
    assert "Nothing matches" in searched("²")
    for number in ("#99999", "99999"):
        assert "out of range" in searched(number)
    for odd in ("-4", "<b>", "w20<", "()"):
        assert "Nothing matches" in searched(odd)
        assert "data-feature" not in searched(odd)
    assert searched("") == ""
    read = searched("w20")
    assert "fires at" in read
    with ThreadPoolExecutor(1) as other, do.studio.model.lock:
        known = other.submit(searched, "w20").result()
    assert "The model is at work" in known
    assert "fires at" not in known
    assert "writes" in read
    assert "concept" not in read
    reading, tokens, top = do.read(tiny.PROMPT, "tiny")
    assert tokens.count("data-position") == 6
    assert "data-feature" in top
    assert "data-feature" in do.token(SimpleNamespace(_data={"position": 2}), reading)[1]  # type: ignore[arg-type]
    assert "stronger in the first" in do.contrast(tiny.PROMPT, "w20 w3 w9", "tiny")
    assert "must be text" in do.contrast("", "w20", "tiny")
    first, second = do.card(Pick("tiny", 7))
    assert "measuring the loss" in first
    assert "measuring the loss" not in second
    assert "out of range" in next(iter(do.card(Pick("tiny", 999))))


def test_a_click_on_an_earlier_drawing_takes_nothing_away(do: Handlers) -> None:
    """Two hits are clicked at once: the second click knows nothing of the first one's edit."""
    empty, _ = do.drawn(Desk())
    first = do.act(event("add", feature=5, turn=empty.turn), empty, "tiny")[0]
    assert first.turn != empty.turn
    both = do.act(event("add", feature=6, turn=empty.turn), first, "tiny")[0]
    assert [row.edit.feature for row in both.rows] == [5, 6]  # type: ignore[union-attr]
    for act in ("remove", "mute", "change", "kind"):
        kept, rows, *_, said = do.act(event(act, number=0, turn=first.turn), both, "tiny")
        assert kept == both
        assert rows == gr.skip()
        assert "drawn anew" in said
    assert do.act(event("remove", both.rows, number=0, turn=both.turn), both, "tiny")[0].rows


def test_an_overtaken_search_is_not_shown(do: Handlers, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whose answer comes after that of what was typed later."""
    hits, later = do._hits, list[str]()

    def slow(query: str, dictionary: str) -> str:
        if query == "1":
            later.append(do.search(SESSION, 2, "17", dictionary))
        return hits(query, dictionary)

    monkeypatch.setattr(do, "_hits", slow)
    assert do.search(SESSION, 1, "1", "tiny") == gr.skip()
    assert 'data-query="17"' in later[0]
    assert 'data-query="1"' in do.search(OTHER, 1, "1", "tiny")


def test_errors_of_ours_speak_and_others_go_to_the_log(caplog: pytest.LogCaptureFixture) -> None:
    assert sentence(DictionaryError("the feature is out of range")) == "the feature is out of range"
    with caplog.at_level(logging.ERROR):
        assert "secret" not in sentence(KeyError("secret"))
    assert "secret" in caplog.text
