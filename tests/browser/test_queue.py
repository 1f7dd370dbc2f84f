"""Two pages and one model: whoever comes second waits, sees it, and may go."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.browser.driver import begin_run, open_page, run, tiny_studio

OVER = "#texts .texts:not(.live):not(.idle)"


@pytest.fixture(scope="module")
def studio() -> Any:
    return tiny_studio()


@contextmanager
def waiting(page: Any, browser: Any, address: str, studio: Any) -> Iterator[tuple[Any, str]]:
    """(another page, in front, whose run waits; the session whose run it waits for).

    The first run can't end until this is left.
    """
    other = open_page(browser, address)
    with studio.model.lock:
        begin_run(page, studio)
        (running,) = studio.jobs
        other.bring_to_front()
        other.click("#run")
        other.wait_for_selector("#texts .live .count:has-text('1 before you')")
        yield other, running


def test_who_waits_sees_the_queue(page: Any, browser: Any, address: str, studio: Any) -> None:
    with waiting(page, browser, address, studio) as (other, _):
        other.wait_for_selector("#texts .live .count:text-matches('1 before you · \\\\d+ s')")
    other.wait_for_selector(OVER)
    other.close()


def test_who_waits_can_leave_the_queue(page: Any, browser: Any, address: str, studio: Any) -> None:
    """It ends at once, while the other's run goes on, and nothing of it is computed."""
    with waiting(page, browser, address, studio) as (other, running):
        other.click("#cancel")
        other.wait_for_selector("#texts .notice:has-text('Cancelled')")
        other.wait_for_selector("#texts .idle")
        assert set(studio.streams) == set(studio.jobs) == {running}
        assert page.locator("#texts .live").count() == 1
    page.bring_to_front()
    page.wait_for_selector(OVER)
    assert other.locator("#texts .idle").count() == 1
    assert not studio.jobs
    other.bring_to_front()
    run(other)
    other.close()


def test_who_waits_can_close_the_page(page: Any, browser: Any, address: str, studio: Any) -> None:
    """Its place is free at once, and the other's run goes on."""
    with waiting(page, browser, address, studio) as (other, running):
        assert len(studio.jobs) == 2
        other.close()
        until = time.monotonic() + 60
        while len(studio.jobs) > 1 and time.monotonic() < until:
            time.sleep(0.02)
        assert set(studio.streams) == set(studio.jobs) == {running}
    page.bring_to_front()
    page.wait_for_selector(OVER)
