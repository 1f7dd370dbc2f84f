"""The Gradio page: components, and which handler each event calls. No logic here."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import gradio as gr
from gradio import events

from apps.playground.api import ENDPOINTS, Api
from apps.playground.find.handlers import sentence
from apps.playground.find.view import found_nothing_view
from apps.playground.handlers import Handlers
from apps.playground.html.markup import esc
from apps.playground.state.desk import Desk
from apps.playground.state.examples import DICTIONARY, EXAMPLES
from apps.playground.state.setup import MOST_TOKENS
from apps.playground.steer.edits_view import examples_view
from apps.playground.steer.texts_view import drawn_view, welcome_view
from apps.playground.studio.apart import apart
from apps.playground.studio.studio import Studio

LISTEN = "window.steer.listen(element, trigger);"
_RUN = "(session, form, ...rest) => { window.steer.run(session, rest); return ''; }"
_LAST = "() => [window.steer.asked]"
_ADDRESS = (
    "(address, form, ...rest) => [location.origin + location.pathname, "
    "JSON.stringify(window.steer.form()), ...rest]"
)
_FRAGMENT = "() => [location.hash.startsWith('#s=') ? location.hash.slice(3) : '']"
_HEAVY: dict[str, Any] = {"concurrency_limit": 1, "concurrency_id": "model"}
_LIGHT: dict[str, Any] = {"concurrency_limit": None, "show_progress": "hidden"}
_PROMPTS = """The weather today is
She opened the door and
In the next few years, the company will
My favourite thing about the city is
The recipe needs two cups of
He told the children that
According to the report, the
When I was young, I"""


class Page(gr.Blocks):
    """Too few values for an endpoint are the caller's mistake, and no failure for the log."""

    def validate_inputs(self, block_fn: Any, inputs: list[Any]) -> None:
        try:
            super().validate_inputs(block_fn, inputs)
        except ValueError as error:
            raise gr.Error(str(error), print_exception=False) from error


def page(studio: Studio, do: Handlers) -> Page:
    """The whole app, not yet served; its runs need `wire.connect` too."""
    with Page(title="steer", analytics_enabled=False, fill_width=True) as blocks:
        api = Api(studio)
        for name in ENDPOINTS:  # first, or a private handler takes the name
            call = spoken(studio, getattr(api, name), f"a call of the API ({name})")
            events.api(call, api_name=name, **_HEAVY)
        _build(studio, do, blocks)
    return blocks


def spoken(studio: Studio, call: Callable[..., Any], what: str) -> Callable[..., Any]:
    """The same endpoint, whose errors reach the caller as a sentence."""

    @functools.wraps(call)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        try:
            with studio.working(what):
                return apart(call)(*args, **kwargs)
        except Exception as error:
            raise gr.Error(sentence(error), print_exception=False) from error

    return wrapped


def _build(studio: Studio, do: Handlers, blocks: gr.Blocks) -> None:
    model = studio.model
    desk, pick, reading = gr.State(Desk()), gr.State(None), gr.State(None)
    hidden = (gr.Textbox(visible="hidden", value="") for _ in range(5))
    session, form, link, address, gone = hidden
    asked = gr.Number(visible="hidden", value=0, precision=0)
    gr.HTML(
        '<div class="bar-top"><h1>steer</h1>'
        f'<span class="model">{esc(model.name)} · {model.dtype} · {esc(model.device)}</span>'
        '<button class="quiet" data-act="theme">light / dark</button></div>',
        elem_id="top",
        js_on_load=LISTEN,
    )
    with gr.Row(equal_height=False):
        with gr.Column(scale=4, min_width=330, elem_id="left"):
            prompt = gr.Textbox(label="Prompt", lines=3, max_lines=8, elem_id="prompt")
            chat = gr.Checkbox(label="as a chat message", elem_id="chat", container=False)
            with gr.Row(elem_id="actions"):
                run = gr.Button(
                    "Run", variant="primary", size="md", elem_id="run", min_width=80, scale=2
                )
                stop = gr.Button("Cancel", size="md", elem_id="cancel", min_width=80, scale=1)
            edits = gr.HTML(elem_id="edits", js_on_load=LISTEN)
            dictionary = gr.Dropdown(
                list(studio.shelf.names),
                value=studio.default,
                label="Dictionary",
                visible=len(studio.shelf.names) > 1,
                elem_id="dictionary",
            )
            query = gr.Textbox(
                label="Find a feature to edit",
                placeholder="a word, a phrase, or a number",
                max_lines=1,
                elem_id="query",
            )
            hits = gr.HTML(elem_id="hits", js_on_load=LISTEN)
            with gr.Accordion("Sampling", open=False):
                tokens = gr.Slider(1, MOST_TOKENS, 40, step=1, label="New tokens")
                temperature = gr.Slider(0, 2, 0.7, step=0.05, label="Temperature (0 is greedy)")
                penalty = gr.Slider(1, 2, 1.1, step=0.05, label="Repetition penalty (1 is none)")
                seed = gr.Number(0, precision=0, label="Seed")
        with gr.Column(scale=9, min_width=330, elem_id="right"):
            notices = gr.HTML(elem_id="notices")
            with gr.Tabs(elem_id="views") as tabs:
                with gr.Tab("Steer", id="steer"):
                    gr.HTML(drawn_view(welcome_view()), elem_id="texts", js_on_load=LISTEN)
                    examples = gr.HTML(
                        examples_view(EXAMPLES) if DICTIONARY in studio.shelf.names else "",
                        elem_id="examples",
                        js_on_load=LISTEN,
                    )
                with gr.Tab("Find", id="find"):
                    found = _find(do, dictionary, reading)
                with gr.Tab("Measure", id="measure"):
                    measuring = _measure()
                with gr.Tab("Take away", id="take") as take:
                    forms = gr.HTML(elem_id="forms", js_on_load=LISTEN)
                    pasted = gr.Textbox(label="Load a state from JSON", lines=3, elem_id="pasted")
                    with gr.Row():
                        loading = gr.Button(
                            "Load", size="sm", elem_id="load", min_width=80, scale=0
                        )
                        file = gr.HTML(
                            '<input class="steer-file" type="file" accept=".json" data-load '
                            'aria-label="Load a JSON file">',
                            js_on_load=LISTEN,
                        )
    settings = [form, prompt, chat, tokens, temperature, penalty, seed]
    controls = [desk, edits, prompt, chat, tokens, temperature, penalty, seed, notices]
    private: dict[str, Any] = {"api_visibility": "private"}

    for source in (edits, hits, *found):
        source.click(
            do.act,
            [desk, dictionary],
            [desk, edits, pick, tabs, notices],
            trigger_mode="multiple",
            **_LIGHT,
            **private,
        )
    pick.change(
        do.card,
        [pick],
        [found[0]],
        show_progress="hidden",
        scroll_to_output=True,
        **_HEAVY,
        **private,
    )
    for event in (query.change, query.submit):  # a paste is no input
        event(
            do.search, [query, dictionary], [hits], trigger_mode="always_last", **_LIGHT, **private
        )
    for event in (run.click, prompt.submit):
        event(None, [session, *settings], [notices], js=_RUN)
    go, halt, measured, terms = measuring
    measures = go.click(
        do.measure, [asked, *terms, *settings], [measured], js=_MEASURE, **_HEAVY, **private
    )
    for button in (stop, halt):
        button.click(
            do.cancel,
            [asked],
            [gone, notices],
            js=_LAST,
            queue=False,
            show_progress="hidden",
            **private,
        )
    gone.change(None, cancels=[measures])
    take.select(
        do.take_away, [address, *settings], [forms, notices], js=_ADDRESS, **_LIGHT, **private
    )
    loading.click(do.load, [pasted, desk], controls, **_LIGHT, **private)
    for source in (examples, file):
        source.click(do.example, [desk], controls, **_LIGHT, **private)
    blocks.load(do.open, [link], [session, *controls], js=_FRAGMENT, **_LIGHT, **private)
    blocks.unload(do.leave)


_MEASURE = (
    "(asked, p, m, l, form, ...rest) => "
    "[window.steer.asked, p, m, l, JSON.stringify(window.steer.form()), ...rest]"
)


def _find(do: Handlers, dictionary: gr.Dropdown, reading: gr.State) -> tuple[gr.HTML, ...]:
    card = gr.HTML(found_nothing_view(), elem_id="card", js_on_load=LISTEN)
    with gr.Row():
        text = gr.Textbox(
            label="Read a text: what fires on each of its tokens", lines=2, elem_id="read"
        )
    look = gr.Button("Read", elem_id="look", size="sm", min_width=90)
    tokens = gr.HTML(elem_id="read-tokens", js_on_load=LISTEN)
    top = gr.HTML(elem_id="read-top", js_on_load=LISTEN)
    with gr.Accordion("Contrast two texts", open=False):
        with gr.Row():
            one = gr.Textbox(label="First", lines=2, elem_id="one", min_width=260)
            other = gr.Textbox(label="Second", lines=2, elem_id="other", min_width=260)
        compare = gr.Button("Contrast", elem_id="compare", size="sm", min_width=90)
        difference = gr.HTML(elem_id="difference", js_on_load=LISTEN)
    private: dict[str, Any] = {"api_visibility": "private"}
    for event in (look.click, text.submit):
        event(do.read, [text, dictionary], [reading, tokens, top], **_HEAVY, **private)
    tokens.click(do.token, [reading], [tokens, top], **_LIGHT, **private)
    compare.click(do.contrast, [one, other, dictionary], [difference], **_HEAVY, **private)
    return card, top, difference


def _measure() -> tuple[gr.Button, gr.Button, gr.HTML, list[gr.Textbox]]:
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
    with gr.Row():
        go = gr.Button(
            "Measure the edits", variant="primary", size="md", elem_id="go", scale=0, min_width=180
        )
        halt = gr.Button("Cancel", size="md", elem_id="halt", scale=0, min_width=100)
    return go, halt, gr.HTML(elem_id="measured", min_height=80), [prompts, more, less]
