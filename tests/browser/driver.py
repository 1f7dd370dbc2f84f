"""What a person does on the page, for the tests and for the screenshots."""

from __future__ import annotations

import shutil
from typing import Any

from tests.support import tiny

HOW = (
    "the browser tests need Chromium and Playwright: "
    "apt-get install -y --no-install-recommends chromium; pip install playwright"
)


def chromium() -> str | None:
    """Where Debian, or another system, keeps it."""
    names = ("chromium", "chromium-browser", "google-chrome")
    return next((found for name in names if (found := shutil.which(name))), None)


def search(page: Any, words: str) -> None:
    """Type into the search box, and wait for what it finds: not for an earlier search's hits."""
    page.click("#query input")
    page.fill("#query input", "")
    page.wait_for_selector("#hits [data-query]", state="detached")
    page.keyboard.type(words, delay=40)
    page.wait_for_selector(f"#hits [data-query='{words.strip()}'] li")


def open_page(browser: Any, address: str, **options: Any) -> Any:
    """A page that has opened its state: what is pressed earlier would wait for it."""
    page = browser.new_page(**options)
    page.set_default_timeout(120_000)
    page.goto(address)
    page.wait_for_selector("#edits .edit")
    # Not at every frame, as is usual: a page behind another one is not drawn.
    page.wait_for_function("window.steer.opened", polling=50)
    return page


def tiny_studio() -> Any:
    """For what does not depend on the model: a random one, which is soon loaded."""
    from apps.playground.start import open_studio

    return open_studio(tiny.tiny_model("llama"), dictionaries=[tiny.dictionary()])


def begin_run(page: Any, studio: Any) -> None:
    """Press Run while something else has the model: it has begun, and can't go on."""
    page.bring_to_front()
    page.click("#run")
    page.wait_for_selector("#texts .live")
    assert studio.streams


def add(page: Any, words: str, which: int = 1) -> None:
    """Find a feature by typing, and add it; the first takes the place of the demonstration."""
    before = page.get_attribute("#edits .edits", "data-turn")
    search(page, words)
    page.click(f"#hits li:nth-child({which}) .hit")
    page.wait_for_selector(f"#edits .edits:not([data-turn='{before}'])")


def amount(page: Any, value: float, which: int = 0) -> None:
    """Type an edit's amount."""
    box = page.locator("#edits [data-field=amount]").nth(which)
    box.fill(f"{value:g}")
    box.dispatch_event("change")


def type_into(page: Any, field: str, text: str, which: int = 0) -> None:
    """Type into a field of an edit, such as `when`."""
    page.locator("#edits .where").nth(which).evaluate("where => (where.open = true)")
    box = page.locator(f"#edits [data-field={field}]").nth(which)
    box.fill(text)
    box.dispatch_event("change")


def run(page: Any) -> None:
    """Press Run, and wait for the coloured texts."""
    page.evaluate("document.querySelector('#texts .texts')?.setAttribute('data-old', '')")
    page.click("#run")
    page.wait_for_selector("#texts .texts:not(.live):not(.idle):not([data-old])")


def texts(page: Any) -> tuple[str, str]:
    """Baseline and edited text, as they are shown."""
    bodies = page.locator("#texts .pane .body")
    return bodies.nth(0).inner_text(), bodies.nth(1).inner_text()


def tab(page: Any, name: str) -> None:
    page.click(f"#views button[role=tab]:has-text('{name}')")
