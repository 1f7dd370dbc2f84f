"""What happens at a click in Find: searching, reading, contrasting, opening a card."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import gradio as gr

from apps.playground.find import view as find_view
from apps.playground.find.ablation import AblationLoss, ablation_loss
from apps.playground.find.contrast import contrast
from apps.playground.html.markup import notice
from apps.playground.state.desk import Desk
from apps.playground.studio.apart import apart
from apps.playground.studio.studio import Studio
from steer.edits import FeatureEdit
from steer.errors import SteerError
from steer.features.activations import Activation
from steer.lm.hookpoints import is_hookpoint

_log = logging.getLogger(__name__)


def sentence(error: Exception) -> str:
    """What the page says of an error; one that is not ours goes to the log with its traceback."""
    if type(error).__module__.split(".")[0] in ("steer", "dictionaries", "apps"):
        return str(error)
    _log.error("a request failed", exc_info=error)
    return f"Something went wrong inside ({type(error).__name__}). The server's log says more."


@dataclass(frozen=True)
class Reading:
    """A text that was read: its tokens, and the strongest features of each."""

    dictionary: str
    tokens: tuple[str, ...]
    top: tuple[tuple[Activation, ...], ...]


@dataclass(frozen=True)
class Pick:
    """The feature whose card is open."""

    dictionary: str
    feature: int


class Looking:
    """The handlers of Find; a mistake becomes a sentence in the page."""

    def __init__(self, studio: Studio) -> None:
        self.studio = studio

    def choose(self, event: gr.EventData, dictionary: str) -> str:
        """The dictionary that was chosen to find features in."""
        chosen = str((event._data or {}).get("dictionary") or dictionary)
        return chosen if chosen in self.studio.shelf.names else dictionary

    def begin(self, pick: Pick | None, desk: Desk) -> Any:
        """The first card to show: of the first edited feature, if none was opened yet."""
        features = (
            Pick(row.dictionary, row.edit.feature)
            for row in desk.rows
            if isinstance(row.edit, FeatureEdit) and not is_hookpoint(row.dictionary)
        )
        return gr.skip() if pick else next(features, gr.skip())

    @apart
    def search(self, request: gr.Request, asked: int, query: str, dictionary: str) -> Any:
        """What the model reads of the words, and what is known of them.

        That alone while the model is at work: what is typed would wait for it. Nothing, if the
        session has asked for something else meanwhile: its answer may be there already.
        asked: the number of the search in the session.
        """
        last = self.studio.searched
        session = str(request.session_hash)
        last[session] = max(asked, last.get(session, 0))
        hits = self._hits(query, dictionary)
        return hits if last.get(session) == asked else gr.skip()

    def _hits(self, query: str, dictionary: str) -> str:
        try:
            index, words = self.studio.shelf.index(dictionary), query or ""
            read = index.measure_if_free(words)
            known = read or index.search(words, measure=False)
            return find_view.hits_view(known, busy=read is None)
        except Exception as error:
            return notice(sentence(error), "error")

    @apart
    def read(self, text: str, dictionary: str) -> tuple[Any, ...]:
        """(reading, tokens, top of the strongest token)."""
        try:
            with self.studio.working("a text’s features"):
                read = self.studio.model.features(text or "", self.studio.shelf[dictionary])
            top = tuple(tuple(pair) for pair in read.top(12))
            reading = Reading(dictionary, read.tokens, top)
            return reading, *self._shown(reading, len(read.tokens) - 1)
        except Exception as error:
            return None, notice(sentence(error), "error"), ""

    def _shown(self, reading: Reading, position: int) -> tuple[str, str]:
        index = self.studio.shelf.index(reading.dictionary)
        top = reading.top[position]
        labels = [index.label(activation.feature) for activation in top]
        tokens = find_view.tokens_view(reading.tokens, position)
        return tokens, find_view.top_view(top, reading.tokens[position], labels)

    def token(self, event: gr.EventData, reading: Reading | None) -> tuple[Any, Any]:
        """(tokens, top) of the token that was clicked."""
        position = (event._data or {}).get("position")
        if reading is None or position is None or not 0 <= position < len(reading.tokens):
            return gr.skip(), gr.skip()
        return self._shown(reading, position)

    @apart
    def contrast(self, one: str, other: str, dictionary: str) -> str:
        try:
            index, model = self.studio.shelf.index(dictionary), self.studio.model
            with self.studio.working("a contrast"):
                read = [model.features(text or "", index.dictionary) for text in (one, other)]
            return find_view.contrast_view(*contrast(read[0], read[1], index))
        except Exception as error:
            return notice(sentence(error), "error")

    def card(self, pick: Pick | None) -> Iterator[str]:
        """The card at once, and again with the loss when that is measured."""
        if pick is None:
            return
        try:
            index = self.studio.shelf.index(pick.dictionary)
            card = apart(index.card)(pick.feature)
            yield find_view.card_view(card)
            yield find_view.card_view(card, self._loss(pick))
        except Exception as error:
            yield notice(sentence(error), "error")

    @apart
    def _loss(self, pick: Pick) -> AblationLoss | str:
        try:
            dictionary = self.studio.shelf[pick.dictionary]
            with self.studio.working("a feature’s card"):
                return ablation_loss(self.studio.model, dictionary, pick.feature)
        except SteerError as error:
            return str(error)
