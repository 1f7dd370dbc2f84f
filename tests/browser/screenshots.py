"""Screenshots of every view, size and theme: `python -m tests.browser.screenshots OUT`.

The README's come from the same command. They are of the default model, so they take two minutes.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from apps.playground.state.examples import EXAMPLES
from apps.playground.state.setup import Row, Setup
from apps.playground.towards.search import rows_of
from tests.browser.driver import HOW, add, chromium, open_page, run, search, tab
from tests.support.concepts import recorded

SIZES = {"laptop": (1280, 800), "phone": (390, 844), "wide": (1920, 1080)}
PROMPTS = "The weather today is\nMy favourite thing about the city is\nWhen I was young, I"
TEXT = "The new bridge is longer and more beautiful than the old one."


def shoot(address: str, out: Path) -> list[Path]:
    """One file a view, size and theme."""
    from playwright.sync_api import sync_playwright

    out.mkdir(parents=True, exist_ok=True)
    made: list[Path] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        page = open_page(browser, address, viewport={"width": 1280, "height": 800})
        made += _all(page, out, "start")
        run(page)
        made += _all(page, out, "steer")
        _typed(page)
        made += _all(page, out, "typed")
        page.locator("#edits [data-field=amount]").first.fill("")
        page.click("#run")
        page.wait_for_selector(".notice.error:visible")
        made += _all(page, out, "refused")
        _linked(page, rows_of(recorded()))
        made += _all(page, out, "towards")
        _linked(page, EXAMPLES[0].setup.rows)
        tab(page, "Find")
        page.wait_for_selector("#card .figures:has-text('nats')")
        page.fill("#read textarea", TEXT)
        page.click("#look")
        page.wait_for_selector("#read-top li")
        made += _all(page, out, "find")
        tab(page, "Measure")
        page.fill("#prompts textarea", PROMPTS)
        page.fill("#more input", "better, more")
        page.fill("#less input", "good, many")
        page.click("#go")
        page.wait_for_selector("#measured .measured:not([data-partial])", timeout=900_000)
        made += _all(page, out, "measure")
        tab(page, "Take away")
        page.wait_for_selector("#take-python")
        made += _all(page, out, "take-away")
        browser.close()
    return made


def _typed(page: Any) -> None:
    """Everything on the left that can be unfolded is, over what a search finds."""
    add(page, "music")
    page.locator("#edits .where").first.evaluate("where => (where.open = true)")
    page.click("#sampling button")
    search(page, "than")


def _linked(page: Any, rows: Sequence[Row]) -> None:
    """Opened from a link, and run."""
    setup = Setup("The city is", rows=tuple(rows), max_new_tokens=30)
    page.evaluate("part => (location.hash = part)", f"s={setup.to_fragment()}")
    page.wait_for_function(
        "text => document.querySelector('#prompt textarea')?.value === text", arg=setup.prompt
    )
    run(page)


def _all(page: Any, out: Path, name: str) -> list[Path]:
    made = []
    page.mouse.move(0, 0)  # what it points at would say its line
    for size, (width, height) in SIZES.items():
        page.set_viewport_size({"width": width, "height": height})
        for theme in ("light", "dark"):
            page.evaluate(f"document.body.classList.toggle('dark', {str(theme == 'dark').lower()})")
            page.evaluate("scrollTo(0, 0)")
            if size == "phone" and name not in ("start", "typed"):
                page.evaluate("document.querySelector('#right').scrollIntoView()")
            page.wait_for_timeout(250)
            path = out / f"{name}-{size}-{theme}.png"
            page.screenshot(path=path)
            made.append(path)
    page.evaluate("document.body.classList.remove('dark')")
    page.set_viewport_size({"width": 1280, "height": 800})
    return made


def main() -> None:
    if chromium() is None:
        sys.exit(HOW)
    from apps.playground import launch

    app = launch(dtype="float32", wait=False)
    for path in shoot(app.local_url, Path(sys.argv[1] if len(sys.argv) > 1 else "screenshots")):
        print(path)
    app.close()


if __name__ == "__main__":
    main()
