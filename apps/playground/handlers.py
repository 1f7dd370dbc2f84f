"""What happens at a click: from the page's values to the page's values, errors as sentences."""

from __future__ import annotations

import itertools
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from dataclasses import replace
from typing import Any

import gradio as gr

from apps.playground.find.handlers import Pick, sentence
from apps.playground.html.markup import notice
from apps.playground.measure import measure
from apps.playground.measure.view import measured_view
from apps.playground.outside import Outside
from apps.playground.state.desk import Desk
from apps.playground.state.form import read_form, read_typed
from apps.playground.state.groups import unit_at, units
from apps.playground.state.setup import Row, Setup
from apps.playground.steer import texts_view as view
from apps.playground.steer.edits_view import RowFacts, rows_view
from apps.playground.steer.frames import Frame, frames
from apps.playground.studio.apart import apart, each_apart
from apps.playground.take_away import forms as takeaway
from steer.edits import FeatureEdit
from steer.errors import SteerError
from steer.lm.hookpoints import is_hookpoint

_turns = itertools.count()


def said_here(error: Exception) -> str:
    """The sentence, with what can be done about it here instead of in Python."""
    return sentence(error).replace("say conflicts='in_order'", "tick “in order” below the edits")


class Handlers(Outside):
    """Bound to the components by `apps.playground.page`."""

    # -- the list of edits ---------------------------------------------------------------------

    def drawn(self, desk: Desk) -> tuple[Desk, str]:
        facts = [self._facts(row) for row in desk.rows]
        desk = replace(desk, turn=next(_turns))
        return desk, rows_view(desk.rows, facts, bool(desk.past), desk.turn)

    def _facts(self, row: Row) -> RowFacts:
        if not isinstance(row.edit, FeatureEdit) or is_hookpoint(row.dictionary):
            return RowFacts("", None, None)
        index, feature = self.studio.shelf.index(row.dictionary), row.edit.feature
        index.dictionary.check_features([feature])
        statistics = index.statistics
        if statistics is None:
            return RowFacts("no statistics", None, None)
        return RowFacts(
            index.label(feature),
            statistics.maximum[feature].item(),
            statistics.density[feature].item(),
        )

    @apart
    def act(self, event: gr.EventData, desk: Desk, dictionary: str) -> tuple[Any, ...]:
        """A click or a change among our own HTML: (desk, rows, pick, tab, notice)."""
        data = event._data or {}
        try:
            form, act = read_form(data.get("form")), data.get("act")
            if data.get("turn", desk.turn) == desk.turn:
                desk = desk.change(form)
            elif act not in ("add", "card"):
                raise SteerError("the list of edits was just drawn anew: do that once more")
            match act:
                case "change":
                    return desk, gr.skip(), gr.skip(), gr.skip(), ""
                case "card":
                    pick = self._picked(data, desk, dictionary)
                    return desk, gr.skip(), pick, gr.update(selected="find"), ""
                case _:
                    desk = self._edited(str(act), data, desk, dictionary)
                    return *self.drawn(desk), gr.skip(), gr.skip(), ""
        except Exception as error:
            said = notice(sentence(error), "error")
            return desk, gr.skip(), gr.skip(), gr.skip(), said

    def _picked(self, data: dict[str, Any], desk: Desk, dictionary: str) -> Pick:
        if data.get("number") is not None:
            row = desk.rows[data["number"]]
            if data.get("feature") is not None:
                return Pick(row.dictionary, int(data["feature"]))
            if not isinstance(row.edit, FeatureEdit):
                raise SteerError(f"{row.edit.kind} edits no feature, so there is no card")
            return Pick(row.dictionary, row.edit.feature)
        return Pick(data.get("dictionary") or dictionary, int(data["feature"]))

    def _edited(self, act: str, data: dict[str, Any], desk: Desk, dictionary: str) -> Desk:
        rows, number = list(desk.rows), data.get("number")
        match act:
            case "undo":
                return desk.undo()
            case "mute" if number is not None:
                unit = unit_at(rows, number)
                rows[unit] = [replace(row, muted=not row.muted) for row in rows[unit]]
            case "remove" if number is not None:
                del rows[unit_at(rows, number)]
            case "add":
                name = data.get("dictionary") or dictionary
                rows_before = [] if self.untouched(desk) else rows
                rows = [*rows_before, self.new_row(name, int(data["feature"]))]
        Setup("x", rows=tuple(rows))
        return desk.change(rows)

    # -- steer ---------------------------------------------------------------------------------

    async def steer(self, session: str, asked: int, *values: Any) -> AsyncGenerator[Frame]:
        """Every frame of a run; none of one that was cancelled before it began."""
        shown = False
        with self.studio.job(session, asked) as stop:
            if stop.is_set():
                return
            try:
                setup = self.setup(*values)
                drawn = frames(self.studio, setup, self._labels, stop, session)
                async with aclosing(drawn):
                    async for frame in drawn:
                        shown = shown or frame.texts is not None
                        yield frame
            except Exception as error:
                idle = view.welcome_view() if shown else None
                yield Frame(notice(said_here(error), "error"), idle, stale=True)

    def _labels(self, setup: Setup) -> list[str]:
        return [self._label(unit) for unit in units(setup.active)]

    def _label(self, unit: tuple[Row, ...]) -> str:
        row = unit[0]
        if row.group is not None:
            return f"towards {row.group.word}"
        if isinstance(row.edit, FeatureEdit):
            return f"#{row.edit.feature} {self._facts(row).label}"
        return row.edit.kind

    def setup(
        self,
        form: str,
        prompt: str,
        chat: bool,
        max_new_tokens: float,
        temperature: float,
        repetition_penalty: float,
        seed: float,
        in_order: bool = False,
    ) -> Setup:
        """What the page's controls say."""
        rows = read_typed(form)
        numbers = [("tokens", max_new_tokens), ("temperature", temperature)]
        numbers += [("repetition penalty", repetition_penalty), ("seed", seed)]
        for name, value in numbers:
            if not isinstance(value, int | float) or value != value:
                raise SteerError(f"{name} is not a number: {value!r}")
        return Setup(
            prompt or "",
            bool(chat),
            rows,
            int(max_new_tokens),
            float(temperature),
            float(repetition_penalty),
            int(seed),
            bool(in_order),
        )

    def cancel(self, request: gr.Request, asked: int) -> tuple[Any, Any]:
        """(signal to leave the queue, notice) if nothing of the session runs yet."""
        if self.studio.stop(str(request.session_hash), asked):
            return gr.skip(), gr.skip()
        return str(next(_turns)), notice("Nothing of yours is running or waiting now.")

    def leave(self, request: gr.Request) -> None:
        """The page was closed. What it has waiting, Gradio takes out of the queue."""
        session = str(request.session_hash)
        self.studio.stop(session)
        self.studio.cancelled.pop(session, None)
        self.studio.searched.pop(session, None)

    # -- take away -----------------------------------------------------------------------------

    @apart
    def take_away(self, address: str, *values: Any) -> tuple[str, str]:
        """(the four forms, notice)."""
        try:
            forms = takeaway.forms(self.studio, self.setup(*values), address)
            return takeaway.forms_view(forms), ""
        except Exception as error:
            return "", notice(sentence(error), "error")

    # -- measure -------------------------------------------------------------------------------

    def measure(
        self,
        request: gr.Request,
        asked: int,
        prompts: str,
        more: str,
        less: str,
        *values: Any,
    ) -> Iterator[str]:
        """First numbers as soon as there are any, then finer ones until all are there."""
        session, working = str(request.session_hash), self.studio.working("a measurement")
        with self.studio.job(session, asked) as stop, working:
            try:
                setup = self.setup(*values)
                lines = measure.read_prompts(prompts or "")
                course = measure.course(self.studio, setup, lines, more or "", less or "")
                for measured in each_apart(course):
                    yield measured_view(measured, stop.is_set())
                    if stop.is_set():
                        return
            except Exception as error:
                yield notice(said_here(error), "error")
