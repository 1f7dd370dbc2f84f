"""What the page's Content-Security-Policy lets run: its own scripts, and no one else's."""

from __future__ import annotations

import re
from typing import Any

import httpx
import pytest

from tests.browser.conftest import refused
from tests.browser.driver import open_page, run, tiny_studio

INJECTED = {
    "a script": "() => document.body.append(Object.assign(document.createElement('script'),"
    " {textContent: 'window.owned = 1'}))",
    "a handler": "() => document.body.insertAdjacentHTML('beforeend',"
    " '<img src=/no onerror=\"window.owned = 1\">')",
    "a link": "() => { document.body.insertAdjacentHTML('beforeend', '<a id=bad"
    " href=\"javascript:window.owned = 1\">x</a>'); document.querySelector('#bad').click() }",
    "a frame": "() => document.body.append(Object.assign(document.createElement('iframe'),"
    " {srcdoc: '<script>parent.owned = 1</script>'}))",
    "a guess": "() => document.body.append(Object.assign(document.createElement('script'),"
    " {nonce: 'guessed', textContent: 'window.owned = 1'}))",
}


@pytest.fixture(scope="module")
def studio() -> Any:
    return tiny_studio()


def test_a_script_that_was_put_in_does_not_run(browser: Any, address: str) -> None:
    """It would without the policy; and the page goes on as if nothing had been."""
    free = open_page(browser.new_context(bypass_csp=True), address)
    refusals: list[str] = []
    own = open_page(browser, address)
    own.on("console", lambda line: refusals.extend(refused(line.text)))
    for number, (how, script) in enumerate(INJECTED.items(), 1):
        free.evaluate("delete window.owned")
        free.evaluate(script)
        free.wait_for_function("window.owned === 1")
        own.evaluate(script)
        own.wait_for_timeout(100)
        assert own.evaluate("window.owned") is None, how
        assert len(refusals) >= number, how
    run(own)
    for each in (free, own):
        each.close()


def test_the_number_of_the_pages_scripts_is_new_each_time(address: str) -> None:
    numbers = set()
    for _ in range(3):
        answer = httpx.get(address)
        policy = answer.headers["content-security-policy"]
        (sources,) = re.findall(r"script-src ([^;]*)", policy)
        (number,) = re.findall(r"'nonce-([\w-]{20,})'", sources)
        assert "unsafe-inline" not in sources
        scripts = re.findall(r"<script[^>]*>", answer.text)
        assert len(scripts) > 4
        assert all(f'nonce="{number}"' in script for script in scripts)
        numbers.add(number)
    assert len(numbers) == 3
    other = httpx.get(address + "config").headers["content-security-policy"]
    assert "nonce" not in other
