"""Clicks without a browser: what they change, and that every mistake is a sentence."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest

from apps.playground.find.handlers import Pick, sentence
from apps.playground.handlers import Handlers
from apps.playground.state.desk import Desk
from apps.playground.state.setup import Row, Setup
from apps.playground.studio.studio import Shelf, Studio
from steer import Ablate, Clamp, DictionaryError
from tests.apps.playground.test_state import form
from tests.support import tiny

SAMPLING = (8, 0.7, 1.1, 0)
SESSION: Any = SimpleNamespace(session_hash="me")
OTHER: Any = SimpleNamespace(session_hash="other")


@pytest.fixture
def do() -> Handlers:
    model = tiny.tiny_model("llama")
    return Handlers(Studio(model, Shelf(model, [], [tiny.dictionary()])))


def event(act: str, rows: tuple[Row, ...] = (), **data: Any) -> Any:
    return SimpleNamespace(_data={"act": act, "form": [form(row) for row in rows], **data})


def steered(do: Handlers, rows: tuple[Row, ...], prompt: str = tiny.PROMPT) -> list[Any]:
    return asyncio.run(drawn(asking(do, rows, prompt)))


async def drawn(frames: AsyncIterator[Any]) -> list[Any]:
    return [frame async for frame in frames]


def asking(
    do: Handlers,
    rows: tuple[Row, ...] = (),
    prompt: str = tiny.PROMPT,
    asked: int = 99,
    session: str = "me",
    most: int = SAMPLING[0],
) -> Any:
    """A click on Run."""
    edits = json.dumps([form(row) for row in rows])
    return do.steer(session, asked, edits, prompt, False, most, *SAMPLING[1:])


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


def test_steer_streams_and_ends_with_the_receipt(do: Handlers) -> None:
    steps = steered(do, (Row("tiny", Clamp(5, "3x max")),))
    assert len(steps) > 3
    assert "1 of at most 8 tokens" in steps[0][1]
    assert "Receipt" in steps[-1][1]
    assert "error term kept" in steps[-1][1]
    assert Setup.from_fragment(steps[-1][2]).rows[0].edit == Clamp(5, "3x max")


def test_muted_edits_leave_the_text_alone(do: Handlers) -> None:
    steps = steered(do, (Row("tiny", Clamp(5, "3x max"), muted=True),))
    assert "the same text" in steps[-1][1]


@pytest.mark.parametrize(
    ("rows", "prompt", "says"),
    [
        ((), "", "prompt is empty"),
        ((), "w3 " * 3000, "tokens"),
        ((Row("tiny", Ablate(9999)),), "w3 w4", "out of range"),
        ((Row("tiny", Ablate(5)), Row("tiny", Clamp(5, 1.0))), "w3 w4", "two edits"),
        ((Row("tiny", Clamp(0, "2x max")),), "w3 w4", "never active"),
        ((Row("/etc/passwd", Ablate(5)),), "w3 w4", "not one of this app"),
    ],
)
def test_a_bad_run_is_a_sentence(
    do: Handlers, rows: tuple[Row, ...], prompt: str, says: str
) -> None:
    assert says in steered(do, rows, prompt)[-1][0]


@pytest.mark.parametrize("prompt", ["<script>alert(1)</script>", "🏳️‍🌈 שלום", "**w3** `w4`"])
def test_strange_prompts_run_and_stay_text(do: Handlers, prompt: str) -> None:
    last = steered(do, (Row("tiny", Clamp(5, "3x max")),), prompt)[-1]
    assert "<script" not in last[1]
    assert "Receipt" in last[1]


def test_cancel_ends_only_ones_own(do: Handlers) -> None:
    async def use() -> list[Any]:
        mine = asking(do, asked=1, most=40)
        await anext(mine)
        do.cancel(OTHER, 1)
        do.cancel(SESSION, 1)
        return await drawn(mine)

    *_, last = asyncio.run(use())
    assert 'class="t' in last[1]
    assert not do.studio.streams
    assert not do.studio.jobs
    assert len(steered(do, ())) > 3


def test_cancel_without_a_run_leaves_gradios_queue(do: Handlers) -> None:
    """Where a measurement may wait."""
    leave, said = do.cancel(SESSION, 1)
    again, _ = do.cancel(SESSION, 1)
    assert leave != again
    assert "Nothing of yours" in said
    assert not do.studio.jobs


def test_a_cancel_that_overtakes_its_run_ends_that_run_alone(do: Handlers) -> None:
    """Both were clicked in a moment, and the cancel came first: the run draws nothing."""
    do.cancel(SESSION, 3)
    assert asyncio.run(drawn(asking(do, asked=3))) == []
    assert not do.studio.jobs
    for session, asked in (("me", 4), ("other", 1)):
        assert len(asyncio.run(drawn(asking(do, asked=asked, session=session)))) > 3
    do.leave(SESSION)
    assert SESSION.session_hash not in do.studio.cancelled


def test_a_cancel_that_comes_before_the_first_token_is_kept(do: Handlers) -> None:
    """And the wait was long, so it is said what for."""

    async def use() -> list[Any]:
        mine = asking(do, asked=1, most=50)
        with do.studio.model.lock:  # so that no token can come
            said = await anext(mine)
            do.cancel(SESSION, 1)
        return [said, *await drawn(mine)]

    said, *rest = asyncio.run(use())
    assert "reading the prompt" in said[1]
    assert len(rest) < 4
    assert not do.studio.jobs


def test_who_is_held_up_by_a_measurement_is_told(do: Handlers) -> None:
    edits = json.dumps([form(Row("tiny", Clamp(5, "3x max")))])
    asked = (tiny.PROMPT, "", "", edits, tiny.PROMPT, False, *SAMPLING)

    async def use() -> tuple[str, str]:
        loop = asyncio.get_running_loop()
        with do.studio.model.lock:
            work = loop.run_in_executor(
                None,
                lambda: list(do.measure(OTHER, 1, *asked))[-1],  # type: ignore[arg-type]
            )
            while not do.studio.beside:
                await asyncio.sleep(0.01)
            mine = asking(do)
            said = await anext(mine)
            await mine.aclose()
        return str(said[1]), await work

    said, measured = asyncio.run(use())
    assert "reading the prompt… · the model is also at work on a measurement" in said
    assert "KL" in measured
    assert not do.studio.beside


def test_a_long_text_that_was_cancelled_is_not_read_again(do: Handlers, monkeypatch: Any) -> None:
    """What the edits did is still told; a short one has its colours too."""

    feature = do.read(tiny.PROMPT, "tiny")[0].top[3][0].feature

    async def use() -> str:
        mine = asking(do, (Row("tiny", Clamp(feature, "3x max")),), asked=1, most=40)
        await anext(mine)
        do.cancel(SESSION, 1)
        return str((await drawn(mine))[-1][1])

    read = asyncio.run(use())
    do.leave(SESSION)
    monkeypatch.setattr("apps.playground.steer.tokens._SECOND", 5)
    unread = asyncio.run(use())
    assert "--a0" in read
    assert "--a0" not in unread
    assert ("coloured by" in read, "not coloured" in read) == (True, False)
    assert ("coloured by" in unread, "not coloured" in unread) == (False, True)
    assert "Receipt" in unread


def test_closing_a_stream_frees_the_model(do: Handlers) -> None:
    async def use() -> None:
        mine = asking(do, most=50)
        await anext(mine)
        await mine.aclose()

    asyncio.run(use())
    assert not do.studio.streams
    assert do.studio.model.lock.acquire(timeout=10)
    do.studio.model.lock.release()


def test_who_waits_knows_its_place_and_can_leave(do: Handlers) -> None:
    """The one behind it moves up, and a mistake is told before the wait."""

    async def use() -> None:
        with do.studio.model.lock:
            first = asyncio.create_task(drawn(asking(do, asked=1)))
            await asyncio.sleep(0)
            second = asking(do, asked=1, session="other")
            third = asking(do, asked=1, session="third")
            places = [await anext(second), await anext(third)]
            assert ["1 before you" in places[0][1], "2 before you" in places[1][1]] == [True, True]
            (bad,) = await drawn(asking(do, (Row("tiny", Ablate(9999)),), session="other"))
            assert "out of range" in bad[0]
            do.cancel(OTHER, 1)
            (left,) = await drawn(second)
            assert "Cancelled" in left[0]
            assert "idle" in left[1]
            assert "1 before you" in (await anext(third))[1]
        assert "Receipt" in (await first)[-1][1] or 'class="t' in (await first)[-1][1]
        assert 'class="t' in (await drawn(third))[-1][1]

    asyncio.run(use())
    assert not do.studio.jobs


def test_sixteen_at_once_get_what_each_gets_alone(do: Handlers) -> None:
    rows = [(Row("tiny", Clamp(feature, "4x max")),) for feature in range(1, 17)]
    alone = [steered(do, row)[-1] for row in rows]

    async def use() -> list[Any]:
        runs = (asking(do, row, session=str(n)) for n, row in enumerate(rows))
        return await asyncio.gather(*map(drawn, runs))

    assert [frames[-1] for frames in asyncio.run(use())] == alone
    assert len({frame[1] for frame in alone}) > 1


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
