"""A word is steered towards, as a person does it."""

from __future__ import annotations

from typing import Any

from tests.browser.driver import run, texts
from tests.support.concepts import recorded


def test_a_word_is_steered_towards(page: Any, monkeypatch: Any) -> None:
    """Typed, looked for, found as one group, and run; the search itself is read from a record."""
    found = recorded()

    def concept(model: Any, word: str, *, dictionary: Any, progress: Any) -> Any:
        progress("examples", 1, 2)
        return found

    monkeypatch.setattr("apps.playground.towards.search.concept", concept)
    page.fill("#towards input", found.word)
    page.keyboard.press("Enter")
    page.wait_for_selector(f"#found .notice:has-text('{found.word}')")
    assert page.locator("#edits .edit.group").count() == 1, "said before it was so"
    assert page.locator("#edits .edit [data-field=slide]").count() == 1
    page.click("#edits .marks button:has-text('visible')")
    run(page)
    baseline, edited = texts(page)
    assert baseline != edited
    assert f"towards {found.word}" in page.inner_text("#texts .legend")
    page.click("#edits .marks button:has-text('weak')")
    dose = float(page.locator("#edits [data-field=amount]").input_value())
    assert abs(dose - found.dose / 2) < 0.01
    run(page)
    assert texts(page)[1] != edited
