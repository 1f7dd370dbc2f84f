"""What the page is made of: components by the place that they are in. No logic here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr

from apps.playground.find.view import found_nothing_view
from apps.playground.html.markup import esc
from apps.playground.html.words import why, words_view
from apps.playground.measure.view import welcome_measure_view
from apps.playground.state.desk import Desk
from apps.playground.state.examples import BEGIN, DICTIONARY, EXAMPLES
from apps.playground.state.setup import MOST_TOKENS
from apps.playground.steer.edits_view import dictionaries_view, examples_view
from apps.playground.steer.texts_view import drawn_view, welcome_view
from apps.playground.studio.studio import Studio

LISTEN = "window.steer.listen(element, trigger);"
_PROMPTS = """The weather today is
She opened the door and
In the next few years, the company will
My favourite thing about the city is
The recipe needs two cups of
He told the children that
According to the report, the
When I was young, I"""


def ours(value: str = "", name: str | None = None, **more: Any) -> gr.HTML:
    """HTML of our own, whose clicks and changes come to the server as a click."""
    return gr.HTML(value, elem_id=name, js_on_load=LISTEN, **more)


@dataclass(frozen=True)
class Unseen:
    """What the server or the page remembers of a session, and no one sees."""

    desk: gr.State
    pick: gr.State
    group: gr.State
    reading: gr.State
    dictionary: gr.State
    session: gr.Textbox
    form: gr.Textbox
    link: gr.Textbox
    boxes: gr.Textbox
    address: gr.Textbox
    gone: gr.Textbox
    asked: gr.Number


def unseen(studio: Studio) -> Unseen:
    def text() -> gr.Textbox:
        return gr.Textbox(visible="hidden", value="")

    return Unseen(
        desk=gr.State(Desk()),
        pick=gr.State(None),
        group=gr.State(()),
        reading=gr.State(None),
        dictionary=gr.State(studio.default),
        session=text(),
        form=text(),
        link=text(),
        boxes=text(),
        address=text(),
        gone=text(),
        asked=gr.Number(visible="hidden", value=0, precision=0),
    )


def top(studio: Studio) -> None:
    """Which model, and what all of this is."""
    model = studio.model
    which = " · ".join(esc(said) for said in (model.name, model.precision, model.device))
    ours(
        '<div class="bar-top"><h1>steer</h1>'
        f'<span class="model">{which}</span>'
        '<button class="quiet" data-act="theme">light / dark</button></div>'
        f'<p class="about">Turn single {why("feature", "features")} of a language model up or '
        "down, and see what it writes then, beside what it would have written. A feature is one "
        f"direction of its inner state that a {why('dictionary')} found, such as comparatives or "
        "music.</p>"
        '<p id="spoken" class="unseen" role="status" aria-live="polite"></p>',
        "top",
    )


@dataclass(frozen=True)
class Asking:
    """The left side: what is asked for."""

    prompt: gr.Textbox
    chat: gr.Checkbox
    run: gr.Button
    stop: gr.Button
    edits: gr.HTML
    in_order: gr.Checkbox
    word: gr.Textbox
    towards: gr.Button
    found: gr.HTML
    shelf: gr.HTML
    query: gr.Textbox
    hits: gr.HTML
    numbers: tuple[gr.components.Component, ...]

    @property
    def settings(self) -> list[Any]:
        """Inputs of `Handlers.setup` after the form of the edits."""
        return [self.prompt, self.chat, *self.numbers, self.in_order]


def asking(studio: Studio) -> Asking:
    prompt = gr.Textbox(BEGIN.prompt, label="Prompt", lines=3, max_lines=8, elem_id="prompt")
    chat = gr.Checkbox(label="as a chat message", elem_id="chat", container=False)
    with gr.Row(elem_id="actions"):
        run = gr.Button("Run", variant="primary", size="md", elem_id="run", min_width=80, scale=2)
        stop = gr.Button("Cancel", size="md", elem_id="cancel", min_width=80, scale=1)
    edits = ours(name="edits")
    in_order = gr.Checkbox(
        label="in order: an edit starts from what the one before it left of its feature",
        elem_id="in-order",
        container=False,
    )
    with gr.Row(elem_id="word"):
        word = gr.Textbox(
            label="Steer towards a word",
            placeholder="ocean, or money",
            max_lines=1,
            elem_id="towards",
            scale=3,
            min_width=160,
        )
        towards = gr.Button("Look for it", size="md", elem_id="towards-go", min_width=104, scale=0)
    found = ours(name="found")
    shelf = ours(dictionaries_view(studio.shelf.names, studio.default), "dictionary")
    query = gr.Textbox(
        label="Find a feature to edit",
        placeholder="a word, a phrase, or a number",
        max_lines=1,
        elem_id="query",
    )
    hits = ours(name="hits")
    return Asking(
        prompt=prompt,
        chat=chat,
        run=run,
        stop=stop,
        edits=edits,
        in_order=in_order,
        word=word,
        towards=towards,
        found=found,
        shelf=shelf,
        query=query,
        hits=hits,
        numbers=_numbers(),
    )


def _numbers() -> tuple[gr.components.Component, ...]:
    with gr.Accordion("Sampling", open=False, elem_id="sampling"):
        return (
            gr.Slider(1, MOST_TOKENS, BEGIN.max_new_tokens, step=1, label="New tokens"),
            gr.Slider(
                0,
                2,
                BEGIN.temperature,
                step=0.05,
                label="Temperature (0 is greedy, more is wilder)",
            ),
            gr.Slider(
                1, 2, BEGIN.repetition_penalty, step=0.05, label="Repetition penalty (1 is none)"
            ),
            gr.Number(BEGIN.seed, precision=0, label="Seed (the same one gives the same text)"),
        )


def steering(studio: Studio) -> gr.HTML:
    """Both texts; gives the states worth a click."""
    ours(drawn_view(welcome_view()), "texts")
    known = DICTIONARY in studio.shelf.names
    examples = ours(examples_view(EXAMPLES) if known else "", "examples")
    ours(words_view(), "words")
    return examples


@dataclass(frozen=True)
class Finding:
    """The Find tab."""

    card: gr.HTML
    text: gr.Textbox
    look: gr.Button
    tokens: gr.HTML
    top: gr.HTML
    one: gr.Textbox
    other: gr.Textbox
    compare: gr.Button
    difference: gr.HTML

    @property
    def clickable(self) -> tuple[gr.HTML, ...]:
        """What shows features."""
        return self.card, self.top, self.difference


def finding() -> Finding:
    card = ours(found_nothing_view(), "card")
    label = "Read a text: what fires on each of its tokens"
    text = gr.Textbox(label=label, lines=2, elem_id="read")
    look = gr.Button("Read", elem_id="look", size="sm", min_width=90)
    tokens, top = ours(name="read-tokens"), ours(name="read-top")
    with gr.Accordion("Contrast two texts", open=False):
        with gr.Row():
            one = gr.Textbox(label="First", lines=2, elem_id="one", min_width=260)
            other = gr.Textbox(label="Second", lines=2, elem_id="other", min_width=260)
        compare = gr.Button("Contrast", elem_id="compare", size="sm", min_width=90)
        difference = ours(name="difference")
    return Finding(card, text, look, tokens, top, one, other, compare, difference)


@dataclass(frozen=True)
class Measuring:
    """The Measure tab."""

    terms: tuple[gr.Textbox, ...]
    go: gr.Button
    halt: gr.Button
    measured: gr.HTML


def measuring() -> Measuring:
    prompts = gr.Textbox(
        _PROMPTS, label="Prompts, one a line", lines=4, max_lines=8, elem_id="prompts"
    )
    with gr.Row():
        more = gr.Textbox(
            label="Logits of these tokens", placeholder="good, great", max_lines=1, elem_id="more"
        )
        less = gr.Textbox(
            label="minus those of", placeholder="bad, poor", max_lines=1, elem_id="less"
        )
    size: dict[str, Any] = {"size": "md", "scale": 0}
    with gr.Row():
        go = gr.Button("Measure the edits", variant="primary", elem_id="go", min_width=180, **size)
        halt = gr.Button("Cancel", elem_id="halt", min_width=100, **size)
    measured = ours(welcome_measure_view(), "measured", min_height=80)
    return Measuring((prompts, more, less), go, halt, measured)


@dataclass(frozen=True)
class Taking:
    """The Take away tab."""

    forms: gr.HTML
    pasted: gr.Textbox
    loading: gr.Button
    file: gr.HTML


def taking() -> Taking:
    forms = ours(name="forms")
    pasted = gr.Textbox(label="Load a state from JSON", lines=3, elem_id="pasted")
    with gr.Row(elem_id="loads"):
        loading = gr.Button("Load", size="sm", elem_id="load", min_width=80, scale=0)
        file = ours(
            '<label class="steer-file">or from a file <input type="file" accept=".json" '
            "data-load></label>"
        )
    return Taking(forms, pasted, loading, file)
