"""The model's own answers to differently worded requests about something.

They are on its own distribution, which is what an edit has to move it towards. Seeded and kept in
the cache folder; those that every concept is compared with are shipped for the default model.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from steer.concepts.writing import Row, write
from steer.disk.remembered import remembered
from steer.lm.prompts import Prompt, read_prompt
from steer.progress import Progress

if TYPE_CHECKING:
    from steer.model import Model

REQUESTS = (
    "Tell me about {}.",
    "Write a few sentences about {}.",
    "Describe {} to a child.",
    "Write a short story about {}.",
    "What comes to mind when you think of {}?",
    "Why do people talk about {}?",
    "Write a diary entry about {}.",
    "Write a paragraph of a novel about {}.",
)
NOTHING = "anything you like"
"""What the neutral answers are asked about."""
OTHERS = (
    *("river", "dog", "bread", "war", "music", "money", "computer", "doctor"),
    *("child", "car", "winter", "law", "painting", "flower", "sadness", "history"),
)
"""What the answers about other words are asked about."""
FITTING, HELD_OUT = (0, 2, 3), (1,)
"""Seeds of the answers that choose, and of those that decide; the others' have the first alone."""
_LUCKS = len(FITTING) + len(HELD_OUT)
TOKENS = 40
TEMPERATURE = 0.7
_SHIPPED = Path(__file__).parent / "shipped"
"""What bf16 wrote, a file a model by its fingerprint: {what was asked about: [answers]}."""


def halves(
    model: Model, word: str, seed: int, progress: Progress | None
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Answers about a word to fit to, and held-out ones; no text is in both."""
    first, second = (
        _answers(model, [(word, chance) for chance in seeds], seed, progress)
        for seeds in (FITTING, HELD_OUT)
    )
    return tuple(dict.fromkeys(first[word])), tuple(
        dict.fromkeys(text for text in second[word] if text not in first[word])
    )


def background(model: Model, seed: int, progress: Progress | None) -> dict[str, tuple[str, ...]]:
    """Answers about `NOTHING` and about each of `OTHERS`, the same for every concept."""
    shipped = _SHIPPED / f"{model.fingerprint}.json"
    if seed == 0 and shipped.exists():
        answers = json.loads(shipped.read_text(encoding="utf-8"))
    else:
        asked = [(NOTHING, variant) for variant in (0, 1)] + [(other, 0) for other in OTHERS]
        answers = _answers(model, asked, seed, progress)
    return {about: tuple(dict.fromkeys(texts)) for about, texts in answers.items() if texts}


def asked(model: Model, about: str) -> Prompt:
    """The first of the requests."""
    return _prompt(model, REQUESTS[0].format(about))


def _answers(
    model: Model, asked: Sequence[tuple[str, int]], seed: int, progress: Progress | None
) -> dict[str, list[str]]:
    """Answers to every request for each (about, seed), by what they are about."""
    settings = [model.fingerprint, model.dtype, list(REQUESTS), list(asked), seed]
    titles = [about for about, _ in asked for _ in REQUESTS]

    def make() -> dict[str, list[str]]:
        if progress:
            progress(f"writing about {' and '.join(dict.fromkeys(titles))}"[:60], 0, 1)
        rows = [
            Row(_prompt(model, request.format(about)), _LUCKS * seed + chance)
            for about, chance in asked
            for request in REQUESTS
        ]
        written = write(model, rows, TOKENS, temperature=TEMPERATURE)
        answers: dict[str, list[str]] = {about: [] for about in titles}
        for about, answer in zip(titles, written, strict=True):
            answers[about] += [answer.text.strip()] if answer.text.strip() else []
        return answers

    texts: dict[str, list[str]] = remembered("answers", [*settings, TOKENS, TEMPERATURE], make)
    return texts


def _prompt(model: Model, request: str) -> Prompt:
    if model.tokenizer.chat_template:
        return read_prompt(model, [{"role": "user", "content": request}])
    return read_prompt(model, f"{request}\n\n")
