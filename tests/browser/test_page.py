"""A person's way through the page, on the default model."""

from __future__ import annotations

import time
from typing import Any

from apps.playground.state.setup import Row, Setup
from apps.studies.demo import DICTIONARY
from steer import Clamp
from tests.browser.driver import (
    add,
    amount,
    open_page,
    run,
    search,
    tab,
    texts,
    type_into,
)


def test_clamp_mute_and_undo(page: Any) -> None:
    """Find by typing, clamp, see the texts differ; mute, see them equal; undo."""
    page.click("#edits [data-act=remove]")
    page.wait_for_selector("#edits .empty")
    add(page, "than")
    run(page)
    baseline, edited = texts(page)
    assert baseline != edited
    assert page.locator("#texts .receipt td").count() >= 4
    assert page.locator("#texts .pane.edited .t.acted").count() > 3
    page.click("#edits [data-act=mute]")
    page.wait_for_selector("#edits .edit.muted")
    run(page)
    same, too = texts(page)
    assert same == too == baseline
    page.click("#edits [data-act=undo]")
    page.wait_for_selector("#edits .edit:not(.muted)")


def test_the_slider_shows_activation_units(page: Any) -> None:
    before = page.locator("#edits output").inner_text()
    slide = page.locator("#edits [data-field=slide]")
    slide.fill("4")
    assert page.locator("#edits [data-field=amount]").input_value() == "4"
    after = page.locator("#edits output").inner_text()
    ratio = float(after.removeprefix("= ")) / float(before.removeprefix("= "))
    assert abs(ratio - 2) < 0.05


def kind(page: Any, name: str) -> None:
    """Choose the first edit's kind, and wait until the row is drawn anew."""
    turn = page.locator("#edits .edits").get_attribute("data-turn")
    page.locator("#edits [data-field=kind]").first.select_option(name)
    page.wait_for_selector(f"#edits .edits:not([data-turn='{turn}'])")


def test_every_kind_of_edit_runs(page: Any) -> None:
    """One after another, so that each comes from the controls of the one before."""
    names = page.locator("#edits [data-field=kind] option").evaluate_all(
        "all => all.map(o => o.value)"
    )
    assert len(names) > 4
    for name in (*names[1:], names[0]):
        kind(page, name)
        run(page)
        assert page.locator("#edits [data-field=kind]").input_value() == name
        assert page.inner_text("#texts .receipt tbody th").startswith(name)


def test_a_receipt_is_reached_with_the_keyboard(page: Any) -> None:
    run(page)
    page.locator("#texts .pane.edited .body").focus()
    page.keyboard.press("ArrowRight")
    assert page.inner_text("#tip").startswith("position 0")
    page.keyboard.press("ArrowRight")
    assert "clamp #" in page.inner_text("#tip")
    page.keyboard.press("Escape")
    assert not page.locator("#tip").is_visible()


def test_what_is_pasted_is_searched(page: Any) -> None:
    page.fill("#query input", "than")
    page.wait_for_selector("#hits li")
    page.fill("#query input", "qzxqzx")
    page.wait_for_selector("#hits .empty")
    page.fill("#query input", "#99999")
    page.wait_for_selector("#hits .notice.error:has-text('out of range')")


def test_an_overdose_warns(page: Any) -> None:
    amount(page, 12)
    run(page)
    page.wait_for_selector("#texts .notice.warn")


def test_a_condition_and_a_schedule(page: Any) -> None:
    """An edit under a condition that never holds does nothing, and says so; a schedule ends it."""
    run(page)
    plain = texts(page)
    type_into(page, "when", "3 and not 3")
    run(page)
    baseline, edited = texts(page)
    assert baseline == edited == plain[0]
    assert "did nothing" in page.inner_text("#texts [data-said]")
    type_into(page, "when", "")
    type_into(page, "schedule", "first 2")
    run(page)
    assert page.locator("#texts .pane.edited .t.acted:not(.prompt)").count() <= 2
    type_into(page, "when", "the moon is full")
    page.click("#run")
    page.wait_for_selector(".notice.error:visible:has-text('is not understood')")


LONG = Setup(
    ", ".join(map(str, range(1, 30))) + ",",
    rows=(Row(DICTIONARY, Clamp(1176, "2x max")),),
    max_new_tokens=400,
    temperature=0,
    repetition_penalty=1,
)
"""It counts on, so that neither text is over early: who waits for it would wait in vain."""


def begin_a_long_run(page: Any) -> None:
    page.evaluate("link => (location.href = link)", f"#s={LONG.to_fragment()}")
    # Not at every frame, as is usual: a page behind another one is not drawn.
    page.wait_for_function(
        "text => document.querySelector('#prompt textarea')?.value === text",
        arg=LONG.prompt,
        polling=100,
    )
    page.click("#run")
    page.wait_for_selector("#texts .live")
    page.wait_for_function(
        "/^\\d+ of at most 400/.test(document.querySelector('#texts .count')?.innerText)",
        polling=100,
    )


def test_closing_the_page_frees_the_model(browser: Any, address: str, studio: Any) -> None:
    gone = open_page(browser, address)
    begin_a_long_run(gone)
    (stream,) = studio.streams.values()
    gone.close()
    until = time.monotonic() + 60
    while studio.streams and time.monotonic() < until:
        time.sleep(0.05)
    assert not studio.streams
    assert len(stream.result().ids) < 400


def watch_counts(page: Any) -> None:
    """Keep every text that the line above the two texts is given, seen or drawn over at once."""
    page.evaluate(
        """() => {
          const draw = window.steer.draw;
          window.said = [];
          window.steer.draw = (frame) => {
            draw(frame);
            const count = document.querySelector("#texts .count");
            if (count) window.said.push(count.textContent);
          };
        }"""
    )


def test_a_run_that_is_soon_there_is_not_waited_for(
    page: Any, studio: Any, monkeypatch: Any
) -> None:
    """However slow this machine: no frame comes before the first token's. A slow one says why."""
    monkeypatch.setattr("apps.playground.steer.frames.PATIENCE", 60)
    watch_counts(page)
    run(page)
    said = page.evaluate("window.said")
    assert said
    assert not any("reading the prompt" in each or "before you" in each for each in said)
    monkeypatch.setattr("apps.playground.steer.frames.PATIENCE", 0)
    with studio.model.lock:  # so that no token can come
        page.click("#run")
        page.wait_for_selector("#texts .count:has-text('reading the prompt')")
    page.wait_for_selector("#texts .receipt")


def test_the_page_draws_little_while_the_model_computes(page: Any, studio: Any) -> None:
    """Gradio's loader asks for sixty frames a second for ever; few are given during a run."""
    frames = """() => new Promise((done) => {
        let count = 0;
        const next = () => { count++; requestAnimationFrame(next); };
        requestAnimationFrame(next);
        setTimeout(() => done(count), 1000);
    })"""
    with studio.model.lock:  # so that no token can come
        page.click("#run")
        page.wait_for_selector("#texts .live")
        assert page.evaluate(frames) < 8
    page.wait_for_selector("#texts .receipt")


def test_a_server_that_is_gone_is_told(page: Any) -> None:
    page.route("**/steer/run", lambda route: route.abort())
    page.click("#run")
    page.wait_for_selector('#texts .notice.error:has-text("can\'t be reached")')
    page.unroute("**/steer/run")
    run(page)
    assert page.locator("#texts .notice.error").count() == 0


def test_a_prompt_of_ten_thousand_characters(page: Any) -> None:
    page.fill("#prompt textarea", "The" + " characteristics" * 625)
    page.click("text=Sampling")
    page.locator("input[aria-label='number input for New tokens']").fill("2")
    page.keyboard.press("Tab")
    page.click("#run")
    ended = "#texts .texts:not(.live):not(.idle), #texts .notice.error"
    page.wait_for_selector(ended, timeout=900_000)  # of few tokens, however slow the machine
    assert page.locator("#texts .notice.error").count() == 0
    assert texts(page)[0].startswith("The characteristics characteristics")


def test_cancel(page: Any) -> None:
    begin_a_long_run(page)
    page.click("#cancel")
    page.wait_for_selector("#texts .texts:not(.live):not(.idle)")
    assert len(texts(page)[0]) < 1500


def test_a_cancel_in_the_same_moment_as_the_run(page: Any, studio: Any) -> None:
    """Nothing is left half drawn, whichever of the two the server hears first."""
    begin_a_long_run(page)
    page.click("#cancel")
    page.wait_for_selector("#texts .texts:not(.live):not(.idle)")
    for wait in (0, 5, 20):
        page.evaluate(
            "wait => { document.querySelector('#run').click();"
            " wait ? setTimeout(() => document.querySelector('#cancel').click(), wait)"
            " : document.querySelector('#cancel').click() }",
            wait,
        )
        page.wait_for_timeout(1500)
        until = time.monotonic() + 60
        while studio.jobs and time.monotonic() < until:  # a slow machine hears both later
            page.wait_for_timeout(50)
        page.wait_for_selector("#texts .texts:not(.live)")
        assert not studio.jobs


def test_reload_from_the_link(page: Any, browser: Any) -> None:
    amount(page, 1.5)
    run(page)
    first = texts(page)
    other = open_page(browser, page.url)
    assert "#s=" in page.url
    assert other.locator("#edits [data-field=amount]").input_value() == "1.5"
    run(other)
    assert texts(other) == first
    other.close()


def test_two_pages_at_once(page: Any, browser: Any) -> None:
    other = open_page(browser, page.url)
    amount(other, 0.25)
    for each in (page, other):
        each.bring_to_front()
        each.click("#run")
    for each in (page, other):
        each.bring_to_front()
        each.wait_for_selector("#texts .texts:not(.live):not(.idle)")
    mine, theirs = texts(page), texts(other)
    assert mine[0] == theirs[0]
    assert mine[1] != theirs[1]
    run(other)
    assert texts(other) == theirs
    other.close()


def test_find(page: Any) -> None:
    """Read a text, click a token, click a feature, steer with it."""
    tab(page, "Find")
    page.fill("#read textarea", "The new bridge is longer than the old one.")
    page.click("#look")
    page.click("#read-tokens .tok:has-text('longer')")
    page.wait_for_selector("#read-top q:has-text('longer')")
    strongest = page.locator("#read-top li:first-child .id")
    feature = strongest.inner_text().removeprefix("#")
    strongest.click()
    card = f"#card .card[data-feature='{feature}']"  # not the edited feature's, that was there
    page.wait_for_selector(f"{card} .figures:has-text('nats')")
    assert page.locator(f"{card} .examples p").count() > 3
    page.click(f"{card} .go")
    page.wait_for_selector(f"#edits .id:text-is('#{feature}')")
    assert page.locator("#edits .edit").count() == 1


def test_measure_and_take_away(page: Any) -> None:
    tab(page, "Measure")
    page.fill("#prompts textarea", "The old bridge\nThe weather today is")
    page.click("#go")
    page.wait_for_selector("#measured .measured[data-partial]")
    page.wait_for_selector("#measured .measured:not([data-partial])")
    page.wait_for_selector("#spoken:has-text('measurement is over')", state="attached")
    assert page.locator("#measured svg").count() == 3
    with page.expect_download() as download:
        page.click("#measured a[download$='.csv'] >> nth=0")
    assert download.value.suggested_filename.endswith(".csv")
    tab(page, "Take away")
    page.wait_for_selector("#take-python")
    assert "steer.load(" in page.inner_text("#take-python")
    assert "#s=" in page.inner_text("#take-link")


def test_hostile_prompt_is_shown_as_text(page: Any) -> None:
    hostile = "<img src=x onerror=\"document.title='owned'\"> **bold** ${1+1} {{x}} שלום 🏳️‍🌈"
    page.fill("#prompt textarea", hostile)
    run(page)
    assert page.locator("#texts img").count() == 0
    assert page.title() == "steer"
    assert "${1+1} {{x}}" in texts(page)[0]


def test_mistakes_are_sentences(page: Any) -> None:
    page.locator("#edits [data-field=amount]").fill("")
    page.click("#run")
    page.wait_for_selector(".notice.error:visible:has-text('not a finite number')")
    page.wait_for_selector("#texts .notice.error", state="attached")
    assert page.locator(".notice.error:visible").count() == 1
    amount(page, 1.5)
    there = page.locator("#edits .id").first.inner_text().removeprefix("#")
    search(page, there)
    page.click(f"#hits .hit[data-feature='{there}']")
    page.wait_for_selector("#edits .edit:nth-of-type(2)")
    page.click("#run")
    page.wait_for_selector("#texts .notice.error:has-text('two edits')")
    page.check("#in-order input")
    run(page)
    assert page.locator("#texts .receipt tbody tr:not(.note)").count() == 2


def test_a_phone_needs_no_sideways_scrolling(page: Any) -> None:
    add(page, "music")
    kind(page, "scale")
    page.set_viewport_size({"width": 390, "height": 844})
    for name in ("Steer", "Find", "Measure", "Take away"):
        tab(page, name)
        assert page.evaluate("document.documentElement.scrollWidth") <= 391
