"""What is typed or clicked while the page is being drawn is kept, however slow the machine is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from apps.playground.state.setup import Row, Setup
from steer import Clamp
from tests.browser.driver import search, tab, tiny_studio

TOKENS = "input[aria-label='number input for New tokens']"
QUEUE = "**/queue/join*"
SEED = "#sampling input[aria-label^='Seed']"


@pytest.fixture(scope="module")
def studio() -> Any:
    return tiny_studio()


@contextmanager
def unanswered(page: Any) -> Iterator[None]:
    """What the page asks reaches the server only once this is left."""
    asked: list[Any] = []

    def hold(route: Any) -> None:
        asked.append(route)

    page.route(QUEUE, hold)
    yield
    for route in asked:
        route.continue_()
    page.unroute(QUEUE)


def test_what_is_typed_before_the_server_answers_stays(browser: Any, address: str) -> None:
    page = browser.new_page()
    with unanswered(page):
        page.goto(address)
        page.fill("#prompt textarea", "w3 w4 w5")
        page.click("#sampling button")
        page.fill(TOKENS, "7")
    page.wait_for_selector("#edits .edit")
    page.wait_for_timeout(300)
    assert page.input_value("#prompt textarea") == "w3 w4 w5"
    assert page.input_value(TOKENS) == "7"
    page.close()


LINKED = Setup("w9 w8", rows=(Row("tiny", Clamp(5, "2x max")),), max_new_tokens=12, seed=3)


def test_what_is_typed_before_a_link_is_answered_stays(browser: Any, address: str) -> None:
    """And the link fills all other boxes; who runs early runs both."""
    page = browser.new_page()
    with unanswered(page):
        page.goto(f"{address}#s={LINKED.to_fragment()}")
        page.fill("#prompt textarea", "w3 w4 w5")
        page.click("#run")
        page.click("#sampling button")
        page.fill(SEED, "11")
    page.wait_for_selector("#texts .texts:not(.live):not(.idle)")
    assert page.input_value("#prompt textarea") == "w3 w4 w5"
    assert page.input_value(SEED) == "11"
    assert page.input_value(TOKENS) == "12"
    assert page.locator("#edits .edit .id").all_inner_texts() == ["#5"]
    assert page.inner_text("#texts .pane.edited .body").startswith("w3w4w5")
    assert "clamp" in page.inner_text("#texts .receipt")
    page.close()


def test_an_early_run_can_be_cancelled(browser: Any, address: str) -> None:
    page = browser.new_page()
    with unanswered(page):
        page.goto(address)
        page.click("#run")
        page.click("#cancel")
    page.wait_for_selector("#edits .edit")
    page.wait_for_timeout(500)
    assert page.locator("#texts .idle").count() == 1
    page.close()


def test_what_is_typed_before_a_state_is_loaded_stays(page: Any) -> None:
    """Of whatever comes late: here of JSON that was pasted. Who loads it again gets all of it."""
    tab(page, "Take away")
    page.click("#sampling button")
    page.fill("#pasted textarea", LINKED.to_json())
    with unanswered(page):
        page.click("#load")
        page.fill("#prompt textarea", "w3 w4 w5")
    page.wait_for_function(f'() => document.querySelector("{TOKENS}").value === "12"')
    assert page.locator("#edits .edit .id").all_inner_texts() == ["#5"]
    assert page.input_value("#prompt textarea") == "w3 w4 w5"
    page.click("#load")
    page.wait_for_function("document.querySelector('#prompt textarea').value === 'w9 w8'")


def test_a_link_still_fills_the_boxes(browser: Any, address: str) -> None:
    page = browser.new_page()
    page.goto(f"{address}#s={LINKED.to_fragment()}")
    page.wait_for_selector("#edits .edit")
    assert page.input_value("#prompt textarea") == "w9 w8"
    page.click("#sampling button")
    page.wait_for_function(f'() => document.querySelector("{TOKENS}")?.value === "12"')
    page.close()


def test_two_clicks_at_once_add_two_edits(page: Any) -> None:
    page.click("#edits [data-act=remove]")
    page.wait_for_selector("#edits .empty")
    search(page, "w20")
    two = "all => all.slice(0, 2).map(hit => (hit.click(), hit.dataset.feature))"
    features = page.locator("#hits .hit").evaluate_all(two)
    page.wait_for_selector("#edits .edit:nth-of-type(2)")
    ids = page.locator("#edits .edit .id").all_inner_texts()
    assert sorted(each.removeprefix("#") for each in ids) == sorted(features)


@pytest.mark.parametrize(
    ("then", "added"),
    [(["#7"], ["7"]), (["qzxqzx", "#7"], ["7"]), (["9"], []), (["qzxqzx", "9"], [])],
)
def test_a_click_is_of_the_hit_that_was_pressed_or_of_none(
    page: Any, then: list[str], added: list[str]
) -> None:
    """The hits are drawn anew between pressing and letting go, in place or as new ones."""
    page.click("#edits [data-act=remove]")
    page.wait_for_selector("#edits .empty")
    search(page, "7")
    hit = page.locator("#hits .hit").first.bounding_box()
    page.mouse.move(hit["x"] + 20, hit["y"] + hit["height"] / 2)
    page.mouse.down()
    for query in then:
        page.fill("#query input", query)
        page.wait_for_selector(f"#hits [data-query='{query}'] li, #hits .empty:has-text('{query}')")
    page.mouse.up()
    if added:
        page.wait_for_selector("#edits .edit")
    page.wait_for_timeout(500)
    ids = page.locator("#edits .edit .id").all_inner_texts()
    assert [each.removeprefix("#") for each in ids] == added
