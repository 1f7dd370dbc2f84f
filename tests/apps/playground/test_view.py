"""What the page shows is text: nothing of a prompt, a token or a label becomes markup."""

from __future__ import annotations

import re
from html.parser import HTMLParser

from apps.playground.html import charts
from apps.playground.html.charts import Line, Point, bar_strip, histogram, line_chart
from apps.playground.html.markup import notice, visible
from apps.playground.state.setup import MOST_ROWS, Row
from apps.playground.steer import texts_view as view
from apps.playground.steer.edits_view import RowFacts, rows_view
from apps.playground.steer.tokens import Fluency, Shown, Texts, tips
from apps.playground.theme import styling
from steer import Ablate, Clamp, Scale
from steer.splice.receipt import EditReceipt, Receipt, TokenEdit

HOSTILE = "<img src=x onerror=alert(1)>\"'&lt;</span>**bold**`${1}`{{x}}"


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text = ""
        self.attributes: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [name for name, _ in attrs]

    def handle_data(self, data: str) -> None:
        self.text += data


def parsed(html: str) -> _Tags:
    tags = _Tags()
    tags.feed(html)
    assert not {"img", "script", "b" if "<b>" not in html else ""} & set(tags.tags)
    assert not [name for name in tags.attributes if name.startswith("on")]
    return tags


def receipt(**changes: object) -> EditReceipt:
    about: dict[str, object] = {
        "dictionary": "d",
        "feature": 7,
        "kind": "clamp",
        "direction": None,
        "acted_tokens": (1, 2),
        "touched": 3,
        "before": 0.5,
        "after": 2.0,
        "reached": 1.9,
        "relative_dose": 0.25,
        "reason": None,
        "note": None,
        "tokens": (),
        **changes,
    }
    return EditReceipt(**about)  # type: ignore[arg-type]


def texts(text: str, fluency: Fluency | None = None) -> Texts:
    shown = (Shown(text, prompt=True), Shown(text, levels=(0.5, 0.0), acted=True, tip=text))
    return Texts(shown, shown, "a", "b", fluency)


def test_hostile_text_stays_text() -> None:
    assert HOSTILE in parsed(view.streaming_view(HOSTILE, HOSTILE, HOSTILE, 1, 2)).text
    found = view.texts_view(texts(HOSTILE), [receipt(note=HOSTILE)], [HOSTILE])
    assert HOSTILE in parsed(found).text
    assert HOSTILE in parsed(notice(HOSTILE)).text
    row = rows_view([Row(HOSTILE, Clamp(1, 2.0))], [RowFacts(HOSTILE, 3.0, 0.1)], True, 0)
    assert HOSTILE in parsed(row).text
    parsed(bar_strip(HOSTILE, [HOSTILE], [1.0], HOSTILE))
    parsed(line_chart(HOSTILE, [Line(HOSTILE, (Point(0, 1), Point(1, 2)))], HOSTILE, HOSTILE))


def test_a_row_shows_its_amount_in_both_units() -> None:
    html = rows_view([Row("a/b", Clamp(4, "2x max"))], [RowFacts("x", 41.3, 0.1)], True, 0)
    assert "× max" in html
    assert "= 82.6" in html
    assert 'data-scale="41.3"' in html


def test_a_row_without_statistics_has_only_activation() -> None:
    html = rows_view([Row("a/b", Clamp(4, 10.0))], [RowFacts("", None, None)], False, 0)
    assert 'data-unit="activation"' in html
    assert "× max" not in html


def test_rows_of_other_kinds() -> None:
    rows = [Row("d", Ablate(1), muted=True), Row("d", Scale(2, -3.0))]
    html = rows_view(rows, [RowFacts("", 1.0, 0.1)] * 2, True, 0)
    assert "edit muted" in html
    assert "Unmute" in html
    assert 'min="-3"' in html


def test_every_drawing_differs() -> None:
    assert rows_view([], [], False, 1) != rows_view([], [], False, 2)


def test_a_silent_edit_warns() -> None:
    silent = receipt(acted_tokens=(), reason="the feature is silent")
    assert "did nothing: the feature is silent" in view.receipt_view([silent])
    assert "did nothing" in view.warnings_view(texts("x"), [silent])


def test_a_broken_text_warns() -> None:
    loop = Fluency((2.0, 1.0), (0.1, 0.9))
    wild = Fluency((2.0, 6.0), (0.1, 0.1))
    fine = Fluency((2.0, 2.5), (0.1, 0.2))
    assert "repeats itself" in loop.problem
    assert "unlikely" in wild.problem
    assert not fine.problem
    assert "repeats itself" in view.warnings_view(texts("x", loop), [receipt()])


def test_visible() -> None:
    assert visible(" than") == "␣than"
    assert visible("\n") == "⏎"
    assert visible("") == "∅"
    assert visible("\xa0a\x00") == "U+00A0aU+0000"
    assert visible("<b>") == "&lt;b&gt;"


def test_charts_can_be_downloaded() -> None:
    chart = line_chart("Dose", [Line("edit", (Point(0, 1, 0.5, 1.5), Point(2, 3, 2, 4)))], "x", "y")
    assert re.search(r'download="dose\.svg" href="data:image/svg\+xml;base64,', chart)
    assert re.search(r'download="dose\.csv" href="data:text/csv;base64,', chart)
    assert charts.to_csv([Line("e", (Point(0, 1),))], "x", "y").splitlines()[1] == "e,0,1,,"


def test_charts_of_one_point_and_of_none() -> None:
    assert "<svg" in line_chart("t", [Line("a", (Point(1, 0.0),))], "x", "y")
    assert line_chart("t", [], "x", "y") == ""
    assert bar_strip("t", [], [], "y") == ""
    assert histogram([]) == ""
    assert histogram([(0.0, 1.0, 0.5), (1.0, 3.0, 0.5)]).count("<rect") == 2


def test_nothing_is_loaded_from_elsewhere() -> None:
    chart = bar_strip("t", ["a"], [1.0], "y")
    assert "http" not in chart.replace("http://www.w3.org/2000/svg", "")


def test_every_edit_has_a_colour() -> None:
    style = styling()["css"]
    for number in range(MOST_ROWS):
        assert f'.texts[data-show="{number}"] .t' in style
        assert f"var(--a{number}, 0)" in style


def test_a_long_receipt_is_folded_and_says_how_much_acted() -> None:
    """Of a word's many edits; one as long as the list of edits may be is not."""
    few = [receipt()] * MOST_ROWS
    assert "<details" not in view.receipt_view(few)
    silent = receipt(acted_tokens=(), reason="the feature is silent")
    folded = view.receipt_view([*few, silent])
    assert folded.startswith("<details")
    assert f"{MOST_ROWS} of {MOST_ROWS + 1} edits acted, on " in folded
    assert folded.count("<tr>") == MOST_ROWS + 1


def test_what_is_said_of_a_token_stays_short() -> None:
    """Of sixty edits that acted on it, the largest few, and how many are left out."""

    def told(count: int) -> list[str]:
        each = [
            receipt(feature=n, tokens=(TokenEdit(3, " a", 0.0, 1.0, 0.9, n / 100),))
            for n in range(count)
        ]
        return tips(Receipt(tuple(each)))[3].splitlines()

    assert [line.split(":")[0] for line in told(3)] == ["clamp #0", "clamp #1", "clamp #2"]
    many = told(60)
    assert len(many) == len(told(8)) == 8
    assert many[0].startswith("clamp #59")
    assert many[-1] == "and 53 smaller ones"
