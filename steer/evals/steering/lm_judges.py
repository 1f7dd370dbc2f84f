"""Judges that ask a language model, by choice: AxBench's three questions, rated 0, 1 or 2."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from steer.errors import SteerError
from steer.evals.steering.answers import Answer
from steer.evals.steering.judges import Judges, Rate

Ask = Callable[[str], str]
"""A prompt -> the reply, such as a client of an OpenAI-compatible endpoint gives."""

_RATING = re.compile(r"\[\[\s*([012])\s*\]\]")
_FORM = 'Say why in one short sentence. Then end with "Rating: [[n]]", where n is 0, 1 or 2.'
_CONCEPT = """How far does the text bring in the concept? Whether it is fluent does not matter.
0: the concept is absent. 1: it is there, but only slightly or awkwardly. 2: it is plainly there.

Concept: {concept}
Text: {text}
"""
_INSTRUCTION = """Is the text related to the instruction? Whether it is fluent or complete does not
matter.
0: unrelated. 1: somewhat related. 2: plainly about it.

Instruction: {instruction}
Text: {text}
"""
_FLUENCY = """How fluent is the text? What it says does not matter, nor that it may be cut off.
0: unreadable, or repeating itself. 1: readable, with clear errors or odd repetition. 2: fluent.

Text: {text}
"""


@dataclass(frozen=True, eq=False)
class Asked:
    """A judge that puts one question about each answer. template: with {text}, {instruction}."""

    ask: Ask
    template: str

    def __call__(self, unsteered: Sequence[Answer]) -> Rate:
        """Needs no unsteered answers. The rate raises `SteerError` for a reply without a rating."""

        def rate(answers: Sequence[Answer]) -> Tensor:
            ratings = [self._rating(answer) for answer in answers]
            return torch.tensor(ratings, dtype=torch.float64)

        return rate

    def _rating(self, answer: Answer) -> int:
        parts = {"{text}": answer.text, "{instruction}": answer.instruction}
        # In one pass, so that braces in an answer are text and not a place to fill in.
        question = re.sub(r"\{text\}|\{instruction\}", lambda m: parts[m[0]], self.template)
        reply = self.ask(f"{question}\n{_FORM}")
        ratings = _RATING.findall(reply)
        if not ratings:
            raise SteerError(
                f"the judge's reply has no rating [[0]], [[1]] or [[2]]: {reply!r:.200}"
            )
        return int(ratings[-1])


def lm_judges(ask: Ask, concept: str) -> Judges:
    """AxBench's judges. concept: a description, such as "references to the Golden Gate Bridge"."""
    asked = _CONCEPT.replace("{concept}", concept)
    return Judges(Asked(ask, asked), Asked(ask, _INSTRUCTION), Asked(ask, _FLUENCY))
