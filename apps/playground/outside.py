"""States that come from outside: a link, JSON, an example. They may come late.

Then what was typed or clicked since they were asked for stays as it is.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import gradio as gr

from apps.playground.find.handlers import sentence
from apps.playground.html.markup import notice
from apps.playground.state.desk import Desk
from apps.playground.state.examples import BEGIN, DICTIONARY, EXAMPLES
from apps.playground.state.form import USUAL
from apps.playground.state.setup import Row, Setup
from apps.playground.studio.apart import apart
from apps.playground.towards.handlers import Towards
from apps.studies.demo import FEATURE, VALUE
from steer.edits import Clamp


def boxes(setup: Setup) -> list[Any]:
    """What the page's boxes hold in this state, in the order of `panes.Asking.settings`."""
    return [setup.prompt, setup.chat, *setup.sampling.values(), setup.in_order]


class Outside(Towards):
    """Its handlers give (desk, rows, boxes, notice).

    boxes: JSON for `window.steer.fill`, which fills each box that still holds what it did then.
    """

    @apart
    def open(self, request: gr.Request, fragment: str, desk: Desk) -> tuple[Any, ...]:
        """(session, …) of what a link holds; without one, of the demonstration.

        Edits that were made before it was answered come after those of a link, and take the place
        of the demonstration.
        """
        session, begun = str(request.session_hash), desk != Desk()
        try:
            if fragment:
                setup = Setup.from_fragment(fragment)
                rows = (*setup.rows, *desk.rows)
                opened = desk.change(rows) if begun else Desk(rows)
                return session, *self._put(setup, opened, boxes(BEGIN))
            said = ""
        except Exception as error:
            said = notice(sentence(error), "error")
        if begun:
            return session, gr.skip(), gr.skip(), "", said
        return session, *self.drawn(Desk(self.first().rows)), "", said

    @apart
    def load(self, text: str, desk: Desk, *now: Any) -> tuple[Any, ...]:
        """A state from JSON. now: what the boxes hold."""
        try:
            setup = Setup.from_json(text)
            return self._put(setup, desk.change(setup.rows), now)
        except Exception as error:
            return gr.skip(), gr.skip(), "", notice(sentence(error), "error")

    def example(self, event: gr.EventData, desk: Desk, *now: Any) -> tuple[Any, ...]:
        """One of the examples; or a file that was read by the page."""
        data = event._data or {}
        if data.get("act") == "load":
            return self.load(str(data.get("text", "")), desk, *now)
        if data.get("example") is None:
            return gr.skip(), gr.skip(), "", gr.skip()
        return self.load(EXAMPLES[int(data["example"])].setup.to_json(), desk, *now)

    def _put(self, setup: Setup, desk: Desk, now: Sequence[Any]) -> tuple[Any, ...]:
        Setup("x", rows=desk.rows)
        held = json.dumps({"from": now, "to": boxes(setup)})
        return *self.drawn(desk), held, ""

    def first(self) -> Setup:
        """The command line's demonstration, on a prompt that leaves room for any topic."""
        name = self.studio.default
        dictionary = self.studio.shelf[name]
        if name == DICTIONARY:
            return replace(BEGIN, rows=(Row(name, Clamp(FEATURE, VALUE)),))
        return replace(BEGIN, rows=(self.new_row(name, min(FEATURE, dictionary.width - 1)),))

    def untouched(self, desk: Desk) -> bool:
        """Whether it holds only the demonstration that the page begins with."""
        return not desk.past and desk.rows == self.first().rows

    def new_row(self, dictionary: str, feature: int) -> Row:
        """A clamp at a share of the stream's norm that is seen in most texts."""
        self.studio.shelf[dictionary].check_features([feature])
        return Row(dictionary, Clamp(feature, f"{USUAL['norm']}x norm"))
