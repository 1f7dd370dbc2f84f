"""A stranger at the page: `python -m tests.browser.stranger`, on ten words that were held out.

Types each word into the box "steer towards", presses Run on what comes, and judges the one text by
the word's own two judges (`steer.concepts.judge`). In bf16, at the page's own prompt and sampling.
The words: the first two of each field; nothing was chosen by eye. Prints a line of JSON a word,
then the share of texts about it. With concepts that were searched for before, a minute in all.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from typing import Any

from apps.studies.concept_words import HELD_OUT
from tests.browser.driver import HOW, chromium, open_page, run, texts

WORDS = tuple(word for field in HELD_OUT.values() for word in field[:2])


def about(model: Any, word: str, written: Sequence[str]) -> list[bool]:
    """Whether each text is about the word, by both judges."""
    from steer.concepts import trials
    from steer.concepts.embedded import embedder, vocabulary
    from steer.concepts.examples import gather
    from steer.concepts.judge import judge

    examples = gather(model, word, None, None, 0, None)
    halves = (
        (trials.CHOOSING, trials.CHOOSING_SEEDS),
        (trials.REPORTING, trials.REPORTING_SEEDS),
    )
    plain = [
        text
        for prompts, seeds in halves
        for text in trials.unsteered(model, trials.places(model, prompts, seeds, 0)).texts
    ]
    words = vocabulary(model.tokenizer)
    others = [text for answers in examples.others.values() for text in answers]
    embed = embedder([*words, *examples.neutral, *others])
    how = judge(word, examples, plain, words, embed)
    verdicts = how.similar(written) & how.mentions(written)
    return [bool(value) for value in verdicts]


def steered(page: Any, word: str) -> tuple[str, tuple[str, str]]:
    """What the page says of a word, and both texts after a click on Run."""
    page.fill("#towards input", word)
    page.keyboard.press("Enter")
    page.wait_for_selector(f"#found .notice:has-text('“{word}”')", timeout=600_000)
    said = page.inner_text("#found .notice")
    run(page)
    return said, texts(page)


def main() -> None:
    from playwright.sync_api import sync_playwright

    from apps.playground.start import open_studio, serve
    from apps.playground.studio.apart import apart

    if chromium() is None:
        sys.exit(HOW)
    studio = apart(open_studio)(dtype="bfloat16")
    app = serve(studio)
    shares: dict[str, list[bool]] = {"unedited": [], "edited": []}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        for word in WORDS:
            page = open_page(browser, app.local_url)
            begun = time.monotonic()
            said, both = steered(page, word)
            seconds = round(time.monotonic() - begun, 1)
            page.close()
            verdicts = apart(about)(studio.model, word, both)
            for name, verdict in zip(shares, verdicts, strict=True):
                shares[name].append(verdict)
            row = {"word": word, "said": said, "seconds": seconds, "about": verdicts[1]}
            print(json.dumps({**row, "texts": both}, ensure_ascii=False), flush=True)
        browser.close()
    app.close()
    for name, verdicts in shares.items():
        print(f"{name}: {sum(verdicts)} of {len(verdicts)} texts are about the word")


if __name__ == "__main__":
    main()
