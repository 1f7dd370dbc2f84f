"""The Gradio page: which handler each event of its components calls. No logic here."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gradio as gr
from gradio import events

from apps.playground import panes
from apps.playground.api import ENDPOINTS, Api
from apps.playground.find.handlers import sentence
from apps.playground.handlers import Handlers
from apps.playground.studio.apart import apart
from apps.playground.studio.studio import Studio

_RUN = "(session, form, ...rest) => { window.steer.run(session, rest); return ''; }"
_LAST = "() => [window.steer.asked]"
_MEASURE = (
    "(asked, p, m, l, form, ...rest) => "
    "[window.steer.asked, p, m, l, JSON.stringify(window.steer.form()), ...rest]"
)
_ADDRESS = (
    "(address, form, ...rest) => [location.origin + location.pathname, "
    "JSON.stringify(window.steer.form()), ...rest]"
)
_FRAGMENT = (
    "(_, ...rest) => [location.hash.startsWith('#s=') ? location.hash.slice(3) : '', ...rest]"
)
_FILL = "(boxes, ...now) => window.steer.fill(boxes, now)"
_PRIVATE: dict[str, Any] = {"api_visibility": "private"}
_HEAVY: dict[str, Any] = {"concurrency_limit": 1, "concurrency_id": "model", **_PRIVATE}
_LIGHT: dict[str, Any] = {"concurrency_limit": None, "show_progress": "hidden", **_PRIVATE}
_DESK: dict[str, Any] = {**_LIGHT, "concurrency_limit": 1, "concurrency_id": "desk"}
"""What changes the edits: one after another, or the second would undo the first."""


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
            events.api(call, api_name=name, concurrency_limit=1, concurrency_id="model")
        parts = _parts(studio)
        _wire_edits(do, parts)
        _wire_find(do, parts)
        _wire_runs(do, parts)
        _wire_states(do, parts, blocks)
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


@dataclass(frozen=True)
class Parts:
    """All components, by place."""

    unseen: panes.Unseen
    asking: panes.Asking
    notices: gr.HTML
    tabs: gr.Tabs
    find_tab: gr.Tab
    take_tab: gr.Tab
    examples: gr.HTML
    finding: panes.Finding
    measuring: panes.Measuring
    taking: panes.Taking

    @property
    def settings(self) -> list[Any]:
        return [self.unseen.form, *self.asking.settings]

    @property
    def controls(self) -> list[Any]:
        """Outputs of what `outside.Outside` does."""
        return [self.unseen.desk, self.asking.edits, self.unseen.boxes, self.notices]


def _parts(studio: Studio) -> Parts:
    unseen = panes.unseen(studio)
    panes.top(studio)
    with gr.Row(equal_height=False, elem_id="sides"):
        with gr.Column(scale=4, min_width=330, elem_id="left"):
            asking = panes.asking(studio)
        with gr.Column(scale=9, min_width=330, elem_id="right"):
            notices = gr.HTML(elem_id="notices")
            with gr.Tabs(elem_id="views") as tabs:
                with gr.Tab("Steer", id="steer"):
                    examples = panes.steering(studio)
                with gr.Tab("Find", id="find") as find_tab:
                    finding = panes.finding()
                with gr.Tab("Measure", id="measure"):
                    measuring = panes.measuring()
                with gr.Tab("Take away", id="take") as take_tab:
                    taking = panes.taking()
    return Parts(
        unseen, asking, notices, tabs, find_tab, take_tab, examples, finding, measuring, taking
    )


def _wire_edits(do: Handlers, parts: Parts) -> None:
    """The list of edits, and what adds to it."""
    unseen, asking = parts.unseen, parts.asking
    for source in (asking.edits, asking.hits, *parts.finding.clickable):
        source.click(
            do.act,
            [unseen.desk, unseen.dictionary],
            [unseen.desk, asking.edits, unseen.pick, parts.tabs, parts.notices],
            trigger_mode="multiple",
            **_DESK,
        )
    search: dict[str, Any] = {
        "fn": do.search,
        "inputs": [unseen.asked, asking.query, unseen.dictionary],
        "outputs": [asking.hits],
        "js": "(asked, ...rest) => [++window.steer.searched, ...rest]",
        "queue": False,  # an answer by the queue's stream can be lost, and what is typed after it
        **_LIGHT,
    }
    chosen = asking.shelf.click(do.choose, [unseen.dictionary], [unseen.dictionary], **_LIGHT)
    chosen.then(**search)
    for event in (asking.query.change, asking.query.submit):  # a paste is no input
        event(trigger_mode="always_last", **search)


def _wire_find(do: Handlers, parts: Parts) -> None:
    unseen, find = parts.unseen, parts.finding
    parts.find_tab.select(do.begin, [unseen.pick, unseen.desk], [unseen.pick], **_LIGHT)
    unseen.pick.change(
        do.card, [unseen.pick], [find.card], show_progress="hidden", scroll_to_output=True, **_HEAVY
    )
    for event in (find.look.click, find.text.submit):
        shown = [unseen.reading, find.tokens, find.top]
        event(do.read, [find.text, unseen.dictionary], shown, **_HEAVY)
    find.tokens.click(do.token, [unseen.reading], [find.tokens, find.top], **_LIGHT)
    texts = [find.one, find.other, unseen.dictionary]
    find.compare.click(do.contrast, texts, [find.difference], **_HEAVY)


def _wire_runs(do: Handlers, parts: Parts) -> None:
    """Running, measuring, and ending either."""
    unseen, asking, measuring = parts.unseen, parts.asking, parts.measuring
    for event in (asking.run.click, asking.prompt.submit):
        event(None, [unseen.session, *parts.settings], [parts.notices], js=_RUN)
    measures = measuring.go.click(
        do.measure,
        [unseen.asked, *measuring.terms, *parts.settings],
        [measuring.measured],
        js=_MEASURE,
        show_progress="minimal",
        **_HEAVY,
    )
    for button in (asking.stop, measuring.halt):
        button.click(
            do.cancel,
            [unseen.asked],
            [unseen.gone, parts.notices],
            js=_LAST,
            queue=False,
            show_progress="hidden",
            **_PRIVATE,
        )
    searches = [
        event(
            do.towards,
            [unseen.asked, asking.word, unseen.dictionary],
            [asking.found, unseen.group],
            js="(asked, ...rest) => [window.steer.asked, ...rest]",
            show_progress="hidden",
            concurrency_limit=1,
            concurrency_id="words",
            **_PRIVATE,
        )
        for event in (asking.towards.click, asking.word.submit)
    ]
    for event in searches:
        event.then(
            do.place,
            [unseen.group, unseen.desk],
            [asking.found, unseen.group, unseen.desk, asking.edits],
            **_DESK,
        )
    unseen.gone.change(None, cancels=[measures, *searches])


def _wire_states(do: Handlers, parts: Parts, blocks: gr.Blocks) -> None:
    """States that come from outside, and go there."""
    unseen, taking = parts.unseen, parts.taking
    parts.take_tab.select(
        do.take_away,
        [unseen.address, *parts.settings],
        [taking.forms, parts.notices],
        js=_ADDRESS,
        **_LIGHT,
    )
    now = [unseen.desk, *parts.asking.settings]
    session = [unseen.session, *parts.controls]
    for event in (
        blocks.load(do.open, [unseen.link, unseen.desk], session, js=_FRAGMENT, **_DESK),
        taking.loading.click(do.load, [taking.pasted, *now], parts.controls, **_DESK),
        parts.examples.click(do.example, now, parts.controls, **_DESK),
        taking.file.click(do.example, now, parts.controls, **_DESK),
    ):
        filled = [unseen.boxes, *parts.asking.settings]
        event.then(None, filled, filled, js=_FILL)
    blocks.unload(do.leave)
