"""Runs without a browser: their frames, who waits, who cancels."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from apps.playground.handlers import Handlers
from apps.playground.state.setup import Row, Setup
from steer import Ablate, Clamp
from tests.apps.playground.clicks import OTHER, SAMPLING, SESSION, asking, drawn, steered
from tests.apps.playground.test_state import form
from tests.support import tiny


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
        ((Row("tiny", Clamp(0, "2x max")),), "w3 w4", "never above 0"),
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
    assert do.studio.model.lock.acquire(timeout=60)
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
