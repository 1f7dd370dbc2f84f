"""The page for those who use a keyboard or a screen reader, and what axe-core says of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from apps.playground.state.setup import Setup
from apps.playground.towards.search import rows_of
from tests.browser.driver import add, amount, run, search, tab, texts
from tests.support.concepts import recorded


def opened(page: Any) -> None:
    pass


def has_run(page: Any) -> None:
    run(page)


def refused(page: Any) -> None:
    run(page)
    page.locator("#edits [data-field=amount]").fill("")
    page.click("#run")
    page.wait_for_selector(".notice.error:visible")


def unfolded(page: Any) -> None:
    page.locator("#edits .where").evaluate("where => (where.open = true)")
    page.click("text=Sampling")
    page.hover("#edits h2 .why")
    page.wait_for_selector("#tip:visible")


def searched(page: Any) -> None:
    search(page, "than")


def steered_towards(page: Any) -> None:
    """A group of edits, from a link."""
    setup = Setup("The city is", rows=rows_of(recorded()), max_new_tokens=10)
    page.evaluate("part => (location.hash = part)", f"s={setup.to_fragment()}")
    page.wait_for_selector("#edits .edit.group")
    page.locator("#edits .where").evaluate("where => (where.open = true)")
    run(page)


def read(page: Any) -> None:
    tab(page, "Find")
    page.wait_for_selector("#card .figures:has-text('nats')")
    page.fill("#read textarea", "The new bridge is longer than the old one.")
    page.click("#look")
    page.wait_for_selector("#read-top li")
    page.click("text=Contrast two texts")


def about_to_measure(page: Any) -> None:
    tab(page, "Measure")


def measured(page: Any) -> None:
    tab(page, "Measure")
    page.fill("#prompts textarea", "The old bridge\nThe weather today is")
    page.click("#go")
    page.wait_for_selector("#measured .measured:not([data-partial])")


def taken(page: Any) -> None:
    tab(page, "Take away")
    page.wait_for_selector("#take-python")


STATES = [opened, has_run, refused, unfolded, searched, steered_towards, read]
STATES += [about_to_measure, measured, taken]


@pytest.mark.parametrize("state", STATES)
def test_axe_finds_nothing(page: Any, state: Callable[[Any], None]) -> None:
    """In any state, light and dark, wide and on a phone."""
    axe_core = pytest.importorskip("axe_playwright_python.sync_playwright")
    state(page)
    page.add_style_tag(content="* { transition: none !important; }")  # colours fade
    found = []
    for width in (1280, 390):  # so high that nothing lies under the bar of a phone
        page.set_viewport_size({"width": width, "height": 4000})
        for dark in (False, True):
            page.evaluate("dark => document.body.classList.toggle('dark', dark)", dark)
            page.wait_for_function(
                "document.getAnimations().every(each => each.playState !== 'running')"
            )
            for each in axe_core.Axe().run(page).response["violations"]:
                nodes = [node["html"][:200] + node["failureSummary"] for node in each["nodes"][:3]]
                found.append((each["id"], dark, width, nodes))
    assert found == []


def focused(page: Any) -> str:
    """What has the focus, in short."""
    return str(
        page.evaluate(
            """() => { const at = document.activeElement;
              return at.dataset.act || at.dataset.field || at.id || at.getAttribute('aria-label')
                || at.textContent.trim() }"""
        )
    )


def reach(page: Any, name: str, most: int = 80) -> None:
    """Press Tab until the focus is there."""
    for _ in range(most):
        page.keyboard.press("Tab")
        if focused(page) == name:
            return
    raise AssertionError(f"Tab does not lead to {name}")


def test_the_whole_way_by_keyboard(page: Any) -> None:
    """A word is looked up, a feature found, added, changed, run, muted and removed."""
    reach(page, "run")
    reach(page, "mute")
    reach(page, "amount")
    outline = "getComputedStyle(document.activeElement).outlineStyle"
    assert page.evaluate(outline) == "solid"
    assert page.locator("#dictionary select").count() == 1
    page.locator("#query input").focus()
    page.keyboard.type("than", delay=40)
    page.wait_for_selector("#hits [data-query=than]")
    reach(page, "add")
    page.keyboard.press("Enter")
    page.wait_for_selector("#edits .edit[data-row*='norm']")
    page.locator("#edits [data-field=slide]").focus()
    before = page.locator("#edits [data-field=amount]").input_value()
    page.keyboard.press("ArrowRight")
    assert page.locator("#edits [data-field=amount]").input_value() != before
    page.locator("#run").focus()
    page.keyboard.press("Enter")
    page.wait_for_selector("#texts .receipt")
    page.wait_for_selector("#spoken:has-text('The run is over')", state="attached")
    page.locator("#edits [data-act=mute]").focus()
    page.keyboard.press("Enter")
    page.wait_for_selector("#edits .edit.muted")
    page.wait_for_function("document.activeElement.dataset.act === 'mute'")
    page.locator("#edits [data-act=remove]").focus()
    page.keyboard.press("Enter")
    page.wait_for_selector("#edits .empty")
    page.wait_for_function("document.activeElement !== document.body")


def test_every_word_says_its_line_on_focus_too(page: Any) -> None:
    run(page)
    words = page.locator(".why:visible")
    assert words.count() > 6
    for number in range(words.count()):
        word = words.nth(number)
        word.hover()
        assert page.inner_text("#tip") == word.get_attribute("data-tip")
    page.locator("#prompt textarea").focus()
    page.mouse.move(0, 0)
    reach(page, "edit")
    assert page.inner_text("#tip")
    page.keyboard.press("Escape")
    assert not page.locator("#tip").is_visible()


def test_a_chart_is_read_with_the_arrow_keys(page: Any) -> None:
    measured(page)
    page.locator("#measured .plot").first.focus()
    page.keyboard.press("ArrowRight")
    assert "the edit at 0.25" in page.inner_text("#tip")


def test_the_dictionary_is_chosen_without_opening_on_the_way(page: Any) -> None:
    search(page, "than")
    first = page.inner_text("#hits")
    page.locator("#dictionary select").focus()
    page.locator("#dictionary select").select_option(index=1)
    page.wait_for_function("old => document.querySelector('#hits').innerText !== old", arg=first)
    add(page, "than")
    site = page.locator("#edits .site").inner_text()
    assert page.locator("#dictionary select").input_value().endswith(site)


def test_a_refused_run_says_that_the_texts_are_old(page: Any) -> None:
    refused(page)
    page.wait_for_selector("#texts [data-stale]")
    amount(page, 2)
    run(page)
    assert page.locator("#texts [data-stale]").count() == 0


def test_a_link_that_is_pasted_into_an_open_page_is_opened(page: Any) -> None:
    amount(page, 1.5)
    run(page)
    link, made = page.url, texts(page)
    amount(page, 0.5)
    run(page)
    assert page.url != link
    page.evaluate("link => (location.href = link)", link)
    page.wait_for_function("document.querySelector('#edits [data-field=amount]')?.value === '1.5'")
    run(page)
    assert texts(page) == made


def test_nothing_touches_or_is_clipped(page: Any) -> None:
    """Nothing of ours is wider than its place, at three widths, in each tab; no words are cut."""
    add(page, "music")
    search(page, "than")
    ours = ".edit, .edit *, .hits *, .bars *, .chip, #top *, "
    ours += ".controls, .card, .texts, .measured, #dictionary, #loads, .words"
    wider = f"""() => [...document.querySelectorAll('{ours}')]
      .filter(each => each.offsetParent && each.clientWidth && !each.matches('.unseen'))
      .filter(each => each.scrollWidth > each.clientWidth + 1)
      .map(each => each.className || each.id)"""
    run(page)
    for width in (390, 1280, 1920):
        page.set_viewport_size({"width": width, "height": 900})
        for name in ("Steer", "Find", "Measure", "Take away"):
            tab(page, name)
            page.wait_for_timeout(150)
            assert page.evaluate(wider) == [], (width, name)
            assert page.evaluate("document.documentElement.scrollWidth") <= width + 1
