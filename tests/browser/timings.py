"""The app's own times on the default model: `python -m tests.browser.timings`. Nothing is asserted.

Start to ready; first steered token after a click, beside the first token of transformers' own
`generate` on the same prompt, and beside a Gradio page that computes nothing; and how long a cancel
takes to free the model.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.browser.driver import HOW, chromium

if TYPE_CHECKING:
    from apps.playground.state import Setup
    from apps.playground.studio import Studio

REPEATS = 7
PARAGRAPH = (
    "The old bridge over the river had been closed for three years before anyone in the town began "
    "to ask when it would open again. The council had promised to repair it, and then to replace "
    "it, and in the end had put up a sign that asked drivers to go round by the mill. Children "
    "fished from it in the summer, and their parents, who had once driven across it to work every "
    "morning, now and then stopped to look at"
)


def median(act: Callable[[], float]) -> float:
    act()
    return statistics.median(act() for _ in range(REPEATS))


def main() -> None:
    started = time.perf_counter()
    from transformers import AutoModelForCausalLM

    from apps.playground.apart import apart
    from apps.playground.handlers import Handlers
    from apps.playground.start import open_studio, serve
    from steer import default_model

    studio = apart(open_studio)()
    app = serve(studio)
    print(f"start to ready: {time.perf_counter() - started:.1f} s")
    apart(studio.shelf.index(studio.default).warm)()
    if chromium() is None:
        sys.exit(HOW)
    opened = apart(AutoModelForCausalLM.from_pretrained)
    untouched = opened(default_model.folder(), dtype="float32")
    first = Handlers(studio).first()
    for setup in (first, replace(first, prompt=PARAGRAPH)):
        compare(studio, setup, untouched, app.local_url)
    app.close()
    bare = constant()
    bare.launch(prevent_thread_lock=True, quiet=True, ssr_mode=False)
    floor = median_click(bare.local_url)
    print(f"a constant from a page of one button, click to page: {floor * 1000:.0f} ms")
    bare.close()


def compare(studio: Studio, setup: Setup, untouched: Any, address: str) -> None:
    """One prompt's first token: plain, in the server, and from a click to the page."""
    from apps.playground.apart import apart

    model = studio.model
    ids = model.tokenizer(setup.prompt, return_tensors="pt")
    print(f"a prompt of {ids.input_ids.shape[1]} tokens")

    @apart
    def plain() -> float:
        begun = time.perf_counter()
        untouched.generate(**ids, max_new_tokens=1, do_sample=False)
        return time.perf_counter() - begun

    def streamed() -> float:
        begun = time.perf_counter()
        with studio.stream(setup) as stream:
            next(iter(stream))
            spent = time.perf_counter() - begun
        with model.lock:
            return spent

    def cancelled() -> float:
        with studio.stream(setup) as stream:
            next(iter(stream))
            begun = time.perf_counter()
        with model.lock:
            return time.perf_counter() - begun

    base = median(plain)
    print(f"  first token of plain generate: {base * 1000:.0f} ms")
    first = median(streamed)
    print(f"  first steered token, in the server: {first * 1000:.0f} ms ({first / base:.2f}x)")
    print(f"  cancel until the model is free: {median(cancelled) * 1000:.0f} ms")
    clicked = median_click(address, setup.prompt)
    print(f"  first steered token, click to page: {clicked * 1000:.0f} ms ({clicked / base:.2f}x)")


def constant() -> Any:
    """What Gradio and the browser take when nothing is computed and there is nothing else to draw.

    It carries the names that the page's own clock looks for.
    """
    import gradio as gr

    token = '<div class="live"><p class="count">1</p></div>'

    def answer() -> Iterator[str]:
        yield "<p></p>"
        yield token
        yield '<p class="receipt">done</p>'

    with gr.Blocks(analytics_enabled=False) as blocks:
        gr.HTML('<p class="edit">.</p>', elem_id="edits")
        texts = gr.HTML(elem_id="texts")
        gr.Button("Run", elem_id="run").click(answer, None, [texts], show_progress="hidden")
    return blocks


def median_click(address: str, prompt: str | None = None) -> float:
    """Measured by the page itself."""
    from playwright.sync_api import sync_playwright

    script = (Path(__file__).parent / "first_token.js").read_text()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        page = browser.new_page()
        page.set_default_timeout(120_000)
        page.goto(address)
        page.wait_for_selector("#edits .edit")
        if prompt:
            page.fill("#prompt textarea", prompt)

        def click() -> float:
            spent = page.evaluate(script)
            page.wait_for_selector("#texts .receipt")
            return float(spent) / 1000

        found = median(click)
        browser.close()
    return found


if __name__ == "__main__":
    main()
