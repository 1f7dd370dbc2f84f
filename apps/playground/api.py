"""The app's functions as named endpoints, with plain data in and out, for gradio_client and MCP."""

from __future__ import annotations

from dataclasses import asdict

from apps.playground.find.contrast import contrast
from apps.playground.measure.measure import measure, read_prompts
from apps.playground.state.setup import Setup, read_rows
from apps.playground.studio.studio import Studio
from apps.playground.take_away.forms import forms
from steer.errors import SteerError

MOST_LISTED = 1000


class Api:
    """Every method is an endpoint of its own name."""

    def __init__(self, studio: Studio) -> None:
        self.studio = studio

    def steer(
        self,
        prompt: str,
        edits: list[dict],
        chat: bool = False,
        max_new_tokens: int = 40,
        temperature: float = 0.7,
        repetition_penalty: float = 1.1,
        seed: int = 0,
        in_order: bool = False,
    ) -> dict:
        """Continue a prompt with and without edits; both texts and a receipt of every edit.

        Args:
            prompt: text to continue, or the user's message if chat.
            edits: objects that name dictionary, kind, feature and, by kind, value (clamp, add,
                floor, cap), factor (scale) or neither (ablate); optionally positions. A value is
                a number or text such as "2x max".
            chat: put the prompt into the model's chat template.
            max_new_tokens: at most 400.
            temperature: 0 is greedy.
            repetition_penalty: 1 is none.
            seed: of the sampling noise.
            in_order: edits of one feature act one after another; else they are refused.
        """
        numbers = max_new_tokens, temperature, repetition_penalty, seed
        setup = Setup(prompt, chat, read_rows(edits), *numbers, in_order)
        return self.studio.run(setup).to_dict()

    def dictionaries(self) -> list[dict]:
        """The dictionaries that edits may name: where each reads, and how many features it has."""
        shelf, model = self.studio.shelf, self.studio.model
        return [
            {
                "dictionary": name,
                "model": model.name,
                "site": model.site_of(shelf[name]),
                "features": shelf[name].width,
                "statistics": shelf[name].statistics is not None,
            }
            for name in shelf.names
        ]

    def labels(self, dictionary: str = "", start: int = 0, limit: int = 100) -> list[dict]:
        """A dictionary's features in order: what each is said to mean, how often and how strongly
        it is active.

        Args:
            dictionary: one of the app's; by default its first.
            start: the first feature to list.
            limit: how many, at most 1000.
        """
        index = self.studio.shelf.index(dictionary or self.studio.default)
        if limit < 1 or limit > MOST_LISTED:
            raise SteerError(f"limit {limit} is not allowed: 1 to {MOST_LISTED}")
        index.dictionary.check_features([start])
        listed = range(start, min(start + limit, index.dictionary.width))
        return [index.facts(feature) for feature in listed]

    def features(self, text: str, dictionary: str = "", top: int = 5) -> list[dict]:
        """The most active features of each token of a text.

        Args:
            text: what to read.
            dictionary: one of the app's; by default its first.
            top: features per token.
        """
        name = dictionary or self.studio.default
        return self.studio.model.features(text, self.studio.shelf[name]).to_list(top)

    def feature(self, feature: int, dictionary: str = "") -> dict:
        """A feature's card: what it fires on, what it promotes, its neighbours.

        Args:
            feature: its index.
            dictionary: one of the app's; by default its first.
        """
        return self.studio.shelf.index(dictionary or self.studio.default).card(feature).to_dict()

    def search(self, query: str, dictionary: str = "", limit: int = 12) -> list[dict]:
        """Features by id, or by words: that fire on them (measured), write them, or are named so.

        Args:
            query: a word, a phrase or an id.
            dictionary: one of the app's; by default its first.
            limit: how many to return.
        """
        index = self.studio.shelf.index(dictionary or self.studio.default)
        hits = index.search(query, limit).hits
        return [{**hit.to_dict(), "label": index.label(hit.feature)} for hit in hits]

    def contrast(self, one: str, other: str, dictionary: str = "", limit: int = 8) -> dict:
        """Which features differ between two texts.

        Args:
            one: a text.
            other: another text.
            dictionary: one of the app's; by default its first.
            limit: how many each way.
        """
        name = dictionary or self.studio.default
        index, model = self.studio.shelf.index(name), self.studio.model
        read = [model.features(text, index.dictionary) for text in (one, other)]
        left, right = contrast(read[0], read[1], index, limit)
        return {
            "one": [asdict(contrasted) for contrasted in left],
            "other": [asdict(contrasted) for contrasted in right],
        }

    def measure(
        self,
        prompts: str,
        edits: list[dict],
        more: str = "",
        less: str = "",
        in_order: bool = False,
    ) -> dict:
        """What edits do to the next token: tokens moved, KL, doses, controls, with intervals.

        Args:
            prompts: one a line.
            edits: as for steer.
            more: tokens, comma-separated, whose logits are compared
            less: with those of these.
            in_order: as for steer.
        """
        lines = read_prompts(prompts)
        setup = Setup(lines[0], rows=read_rows(edits), in_order=in_order)
        return asdict(measure(self.studio, setup, lines, more, less))

    def take_away(self, state: dict) -> dict:
        """A state as link, JSON, Python script and command line, which give the same text.

        Args:
            state: as the app's own JSON: prompt, rows, and how tokens are chosen.
        """
        return forms(self.studio, Setup.from_dict(state))


ENDPOINTS = (
    "steer",
    "dictionaries",
    "labels",
    "features",
    "feature",
    "search",
    "contrast",
    "measure",
    "take_away",
)
