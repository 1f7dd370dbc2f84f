"""Screenshots of every view, at both sizes and themes: `python -m tests.browser.screenshots OUT`.

The README's come from the same command. They are of the default model, so they take a minute.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from tests.browser.driver import HOW, chromium, open_page, run, tab

SIZES = {"laptop": (1280, 800), "phone": (390, 844)}
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
        tab(page, "Find")
        page.wait_for_selector("#card .figures:has-text('nats')")
        page.fill("#read textarea", TEXT)
        page.click("#look")
        page.wait_for_selector("#read-top li")
        made += _all(page, out, "find")
        tab(page, "Measure")
        page.fill("#more input", "better, more")
        page.fill("#less input", "good, many")
        page.click("#go")
        page.wait_for_selector("#measured .measured:not([data-partial])")
        made += _all(page, out, "measure")
        tab(page, "Take away")
        page.wait_for_selector("#take-python")
        made += _all(page, out, "take-away")
        browser.close()
    return made


def _all(page: Any, out: Path, name: str) -> list[Path]:
    made = []
    for size, (width, height) in SIZES.items():
        page.set_viewport_size({"width": width, "height": height})
        for theme in ("light", "dark"):
            page.evaluate(f"document.body.classList.toggle('dark', {str(theme == 'dark').lower()})")
            page.evaluate("scrollTo(0, 0)")
            if size == "phone" and name != "start":
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

    app = launch(wait=False)
    for path in shoot(app.local_url, Path(sys.argv[1] if len(sys.argv) > 1 else "screenshots")):
        print(path)
    app.close()


if __name__ == "__main__":
    main()
