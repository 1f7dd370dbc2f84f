"""The app on the default model: what its page says is what the command line says."""

from __future__ import annotations

import asyncio
import html
import json
import re
import shlex
from typing import Any

import pytest

from apps.playground.find.view import card_view
from apps.playground.handlers import Handlers
from apps.playground.html.markup import visible
from apps.playground.start import open_studio
from apps.playground.state.examples import DICTIONARY, EXAMPLES, Example
from apps.playground.take_away.forms import forms
from tests.support.command import Run


@pytest.fixture(scope="module")
def do() -> Handlers:
    return Handlers(open_studio())


def plain(page: str) -> str:
    """The text of some HTML."""
    return html.unescape(re.sub(r"<[^>]+>", "", page))


@pytest.mark.parametrize("feature", [0, 1176, 1840, 5270])
def test_a_card_says_what_the_command_says(do: Handlers, feature: int, run: Run) -> None:
    card = do.studio.shelf.index(DICTIONARY).card(feature)
    data = json.loads(json.dumps(card.to_dict()))
    said = json.loads(run("feature", feature, "--dictionary", DICTIONARY, "--json").out)
    assert {name: data[name] for name in said} == said
    near = run("neighbours", feature, "--dictionary", DICTIONARY, "--top", 8, "--json").out
    asked = [{key: row[key] for key in ("feature", "cosine")} for row in data["neighbours"]]
    assert asked == [{key: row[key] for key in ("feature", "cosine")} for row in json.loads(near)]
    drawn = card_view(card)
    page = plain(drawn)
    assert f"{said['density']:.3%}of {said['tokens']:,} tokens" in page
    for context in said["contexts"]:
        assert "".join(context["tokens"]).replace("\n", "⏎") in page
    for row in (*said["promoted"], *said["suppressed"]):
        token = visible(row["token"])
        assert f'data-tip="{token}: logit {row["logit"]:+.2f}">{token}</span>' in drawn


@pytest.fixture(scope="module")
def drawn(do: Handlers) -> dict[str, tuple[str, str]]:
    """Of each example, the notices and the texts that its run ends with."""
    return {example.title: _drawn(do, example) for example in EXAMPLES}


def _drawn(do: Handlers, example: Example) -> tuple[str, str]:
    setup = example.setup
    desk_rows: list[dict[str, Any]] = [
        {"row": row.to_dict(), "muted": row.muted, "kind": "", "positions": "all"}
        for row in setup.rows
    ]
    asked = json.dumps(desk_rows), setup.prompt, setup.chat, *setup.sampling.values()

    async def last() -> tuple[Any, ...]:
        frames = [frame async for frame in do.steer("anyone", 1, *asked)]
        return frames[-1]

    notices, texts, *_ = asyncio.run(last())
    return notices, texts


def panes(page: str) -> tuple[str, str]:
    """Baseline and edited text, prompt included."""
    baseline, edited = re.findall(r'<div dir="auto">(.*?)</div>', page, re.DOTALL)
    return plain(baseline), plain(edited)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda each: each.title)
def test_an_example_is_what_the_command_prints(
    do: Handlers, example: Example, drawn: dict[str, tuple[str, str]], run: Run
) -> None:
    command = forms(do.studio, example.setup)["shell"].replace("\\\n", " ")
    printed = json.loads(run(*shlex.split(command)[1:]).out)
    prompt = example.setup.prompt
    assert panes(drawn[example.title][1]) == (
        prompt + printed["baseline"],
        prompt + printed["steered"],
    )


SAYS = {
    "Everything compared": ("longer", "wider", "thicker", "lighter"),
    "A devout city": ("endless love", "infinite"),
    "From crimes to music": ("music", "literature", "art"),
}


@pytest.mark.parametrize("title", SAYS)
def test_an_example_does_what_its_caption_says(
    title: str, drawn: dict[str, tuple[str, str]]
) -> None:
    (example,) = (each for each in EXAMPLES if each.title == title)
    baseline, edited = panes(drawn[title][1])
    for words in SAYS[title]:
        assert all(word in example.look for word in words.split())
        assert re.search(rf"\b{words}\b", edited)
        assert not re.search(rf"\b{words}\b", baseline)


def test_too_much_breaks_and_nothing_says_why(drawn: dict[str, tuple[str, str]]) -> None:
    assert "fluent range" in drawn["Too much"][0]
    baseline, edited = panes(drawn["An edit that does nothing"][1])
    assert baseline == edited
    assert "did nothing: " in drawn["An edit that does nothing"][0]
    assert "silent" in drawn["An edit that does nothing"][1]
