"""Texts about a word, texts about other words, and texts about nothing in particular.

Without examples of the user's, the model writes them: its own answers to differently worded
requests. They are on its own distribution, which is what an edit has to move it towards.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from steer.concepts.store import remembered
from steer.concepts.writing import Row, write
from steer.disk.cache import Progress
from steer.errors import SteerError
from steer.lm.prompts import Prompt, read_prompt

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
SEEDS = (0, 1)
TOKENS = 40
TEMPERATURE = 0.7
MOST_WORDS = 5
"""A concept is named in at most this many words."""
_SHIPPED = Path(__file__).parent / "answers"
"""What bf16 wrote, a file a model by its fingerprint: {what was asked about: [answers]}."""
FEWEST = 4
"""Least sentences of a user's: half of them choose and half decide."""


@dataclass(frozen=True)
class Examples:
    """What a concept is told from.

    fit, held_out: texts about it that choose features, and that decide; no text is in both.
    neutral: texts about nothing in particular; others: texts about each other word.
    made: whether the model wrote `fit` and `held_out`.
    """

    fit: tuple[str, ...]
    held_out: tuple[str, ...]
    neutral: tuple[str, ...]
    others: dict[str, tuple[str, ...]]
    made: bool


def gather(
    model: Model,
    word: str,
    examples: Sequence[str] | None,
    against: Sequence[str] | None,
    seed: int,
    progress: Progress | None,
) -> Examples:
    """The user's sentences or the model's own, in two halves. Raises `SteerError` for too few."""
    others = {name: _background(model, name, seed, SEEDS[:1], progress) for name in OTHERS}
    others = {name: texts for name, texts in others.items() if name not in word.lower().split()}
    if against is None:
        neutral = _background(model, NOTHING, seed, SEEDS, progress)
    else:
        neutral = check_texts("against", against)
    if examples is None:
        fit, held_out = (_answers(model, word, seed, (each,), progress) for each in SEEDS)
        held_out = tuple(text for text in held_out if text not in fit)
        return Examples(fit, held_out, neutral, others, made=True)
    given = check_texts("examples", examples)
    if shared := sorted(set(given) & set(neutral)):
        raise SteerError(
            f"{shared[0]!r} is given both as an example and against it; "
            "take it out of one of the two"
        )
    return Examples(given[::2], given[1::2], neutral, others, made=False)


def check_word(word: object) -> str:
    """The word without space around it. Raises `SteerError` for none, or for more than a phrase."""
    if not isinstance(word, str) or not any(letter.isalnum() for letter in word):
        raise SteerError(f"a concept is a word or a short phrase such as 'ocean', not {word!r}")
    words = word.split()
    if len(words) > MOST_WORDS or len(word) > 80:
        raise SteerError(
            f"a concept is named in at most {MOST_WORDS} words and 80 letters, and this has "
            f"{len(words)} words and {len(word)} letters; give sentences about it as examples"
        )
    return " ".join(words)


def check_texts(name: str, texts: Sequence[str]) -> tuple[str, ...]:
    """Different texts, in order. Raises `SteerError` for fewer than `FEWEST`, or an empty one."""
    if isinstance(texts, str) or not all(isinstance(text, str) for text in texts):
        raise SteerError(f"{name} is a list of sentences, not {texts!r}")
    if any(not text.strip() for text in texts):
        raise SteerError(f"{name} has an empty sentence; leave it out")
    different = tuple(dict.fromkeys(text.strip() for text in texts))
    if len(different) < FEWEST:
        raise SteerError(
            f"{name} has {len(different)} different sentences and needs {FEWEST} or more, since "
            "half of them choose and half decide; give more, or none and the model writes them"
        )
    return different


def _background(
    model: Model, about: str, seed: int, seeds: Sequence[int], progress: Progress | None
) -> tuple[str, ...]:
    """The same answers for every concept: with seed 0, the default model's are shipped."""
    shipped = _SHIPPED / f"{model.fingerprint}.json"
    if seed == 0 and shipped.exists():
        return tuple(json.loads(shipped.read_text(encoding="utf-8"))[about])
    return _answers(model, about, seed, seeds, progress)


def _answers(
    model: Model, about: str, seed: int, seeds: Sequence[int], progress: Progress | None
) -> tuple[str, ...]:
    """The model's answers to every request about something, one for each seed; from the cache."""
    asked = [model.fingerprint, model.dtype, about, list(REQUESTS), seed, list(seeds)]

    def make() -> list[str]:
        if progress:
            progress(f"writing about {about}", 0, 1)
        rows = [
            Row(_asked(model, about, request), len(SEEDS) * seed + each)
            for each in seeds
            for request in REQUESTS
        ]
        written = write(model, rows, TOKENS, temperature=TEMPERATURE)
        return [answer.text.strip() for answer in written]

    texts = remembered("answers", [*asked, TOKENS, TEMPERATURE], make)
    return tuple(dict.fromkeys(text for text in texts if text))


def _asked(model: Model, about: str, request: str) -> Prompt:
    asked = request.format(about)
    if model.tokenizer.chat_template:
        return read_prompt(model, [{"role": "user", "content": asked}])
    return read_prompt(model, f"{asked}\n\n")
