"""The app's own times on the default model: `python -m tests.browser.timings`. Nothing is asserted.

Start to ready; first steered token after a click, in turn with the first token of transformers'
own `generate` on the same prompt, and beside a Gradio page that computes nothing; and how long a
cancel takes to free the model.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.browser.driver import HOW, chromium, open_page

if TYPE_CHECKING:
    from apps.playground.state.setup import Setup
    from apps.playground.studio.studio import Studio

REPEATS = 15
PARAGRAPH = (
    "The old bridge over the river had been closed for three years before anyone in the town began "
    "to ask when it would open again. The council had promised to repair it, and then to replace "
    "it, and in the end had put up a sign that asked drivers to go round by the mill. Children "
    "fished from it in the summer, and their parents, who had once driven across it to work every "
    "morning, now and then stopped to look at"
)


def in_turn(base: Callable[[], float], other: Callable[[], float]) -> str:
    """Medians of two things that are done one after the other, and of their ratio in each turn."""
    base()
    other()
    turns = [(base(), other()) for _ in range(REPEATS)]
    one, two = (1000 * statistics.median(times) for times in zip(*turns, strict=True))
    ratio = statistics.median(b / a for a, b in turns)
    return f"{two:.0f} ms, {ratio:.2f}x plain generate's {one:.0f} ms"


def main() -> None:
    started = time.perf_counter()
    from transformers import AutoModelForCausalLM

    from apps.playground.handlers import Handlers
    from apps.playground.start import open_studio, serve
    from apps.playground.studio.apart import apart
    from steer.lm import default_model

    studio = apart(open_studio)(dtype="float32")
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
    with clicks(bare.local_url) as click:
        floor = 1000 * statistics.median(repeat(click))
    print(f"a constant from a page of one button, click to page: {floor:.0f} ms")
    bare.close()


def compare(studio: Studio, setup: Setup, untouched: Any, address: str) -> None:
    """One prompt's first token: plain, in the server, and from a click to the page."""
    from apps.playground.studio.apart import apart

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

    print("  first steered token, in the server:", in_turn(plain, streamed))
    print(f"  cancel until the model is free: {1000 * statistics.median(repeat(cancelled)):.0f} ms")
    with clicks(address, setup.prompt) as click:
        print("  first steered token, click to page:", in_turn(plain, click))


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


def repeat(act: Callable[[], float]) -> list[float]:
    act()
    return [act() for _ in range(REPEATS)]


@contextmanager
def clicks(address: str, prompt: str | None = None) -> Iterator[Callable[[], float]]:
    """Click Run, and the seconds until the first token, measured by the page itself."""
    from playwright.sync_api import sync_playwright

    script = (Path(__file__).parent / "first_token.js").read_text()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        page = open_page(browser, address)
        if prompt:
            page.fill("#prompt textarea", prompt)

        def click() -> float:
            spent = page.evaluate(script)
            page.wait_for_selector("#texts .receipt")
            return float(spent) / 1000

        yield click
        browser.close()


if __name__ == "__main__":
    main()
