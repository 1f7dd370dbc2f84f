"""A real browser on the real app: Chromium, the default model, one server for all tests."""

from __future__ import annotations

import gc
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.browser.driver import HOW, chromium, open_page


@pytest.fixture(scope="module")
def studio() -> Any:
    """What the served page works with, to see what it is doing.

    What earlier tests left in this process is no garbage of the page's, as in `steer app`: to look
    through it takes a second, in which nothing is answered.
    """
    from apps.playground.start import open_studio

    opened = open_studio()
    gc.freeze()
    return opened


@pytest.fixture(scope="module")
def address(studio: Any) -> Iterator[str]:
    """The app on the default model, at a free port."""
    from apps.playground.start import serve

    app = serve(studio)
    yield app.local_url
    app.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Closed with the module: while it is open, no later test can have an event loop of its own."""
    sync_api = pytest.importorskip("playwright.sync_api", reason=HOW)
    if chromium() is None:
        pytest.skip(HOW)
    with sync_api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture
def page(browser: Any, address: str, studio: Any) -> Iterator[Any]:
    """A fresh page at laptop size, that fails its test on an error of its own scripts.

    And on anything that its own policy refuses.
    """
    errors: list[str] = []
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    context.on("weberror", lambda error: errors.append(str(error.error)))
    context.on("console", lambda line: errors.extend(refused(line.text)))
    opened = open_page(context, address + shorter(studio))
    yield opened
    context.close()
    assert not errors


def shorter(studio: Any) -> str:
    """A link to what the page begins with, with fewer new tokens: each run takes a third."""
    from apps.playground.handlers import Handlers

    first = replace(Handlers(studio).first(), max_new_tokens=14)
    return f"#s={first.to_fragment()}"


def refused(line: str) -> list[str]:
    """What the browser says of something that the page's policy does not allow."""
    return [line] if "Content Security Policy" in line else []


def pytest_report_header() -> str:
    return "" if shutil.which("chromium") else HOW


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(here):
            item.add_marker(pytest.mark.browser)
