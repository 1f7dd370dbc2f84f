"""`steer.concept`: from a word to an edit that writes about it, or the answer that none does."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dictionaries.dictionary import Dictionary
from steer.concepts.dose import BUDGET
from steer.concepts.examples import check_texts, check_word, gather
from steer.concepts.reading import content
from steer.concepts.result import Concept, ConceptTable
from steer.concepts.search import Search
from steer.disk.content import dictionary_content
from steer.disk.ledger import Row
from steer.disk.remembered import remembered
from steer.errors import SteerError
from steer.jobs.executors import Executor, executor_of
from steer.jobs.job import Each
from steer.jobs.run import Spread, run
from steer.lm.default_model import NAME as DEFAULT_MODEL
from steer.lm.prompts import read_prompt
from steer.progress import Progress

if TYPE_CHECKING:
    from steer.model import Model

EARLY = f"{DEFAULT_MODEL}/resid_post.10"
"""Where things are steered towards in the default model; at block 20 hardly any are."""
_SEARCH = 2
"""To be raised when the search changes, and what it reads does not."""


def concept(
    model: Model,
    word: str,
    *,
    examples: Sequence[str] | None = None,
    against: Sequence[str] | None = None,
    prompt: str | None = None,
    dictionary: Dictionary | str | None = None,
    budget: float = BUDGET,
    seed: int = 0,
    progress: Progress | None = None,
) -> Concept:
    """Features of a dictionary that make the model write about a word, and how surely they do.

    word: a word or a short phrase. The second call with the same arguments reads the cache folder.
    examples: sentences about it, four or more; by default the model writes some.
    against: sentences that are not; by default the model's, about nothing in particular.
    prompt: a text of yours whose continuations to add to `texts`; no figure rests on it.
    dictionary: by default block 10's of the default model; others have to be named.
    budget: nats a token that the steered text may cost more under the untouched model.
    seed: of everything that is written; progress: called with (what, done, total).

    Raises `SteerError` for a word or sentences that say too little, `DictionaryError` for a
    dictionary that does not fit, `MissingExtraError` without the sentence embeddings.
    """
    name = check_word(word)
    _check_budget(budget)
    about = None if examples is None else check_texts("examples", examples)
    away = None if against is None else check_texts("against", against)
    if prompt is not None:
        read_prompt(model, prompt)
    used = _dictionary(model, dictionary)
    key = content(used)
    fixed = [model.fingerprint, model.precision, key, seed]

    def make() -> dict[str, Any]:
        texts = gather(model, name, about, away, seed, progress)
        search = Search(model, used, key, name, texts, float(budget), seed, progress)
        return search.run(prompt).to_dict()

    return Concept.from_dict(
        remembered("concept", [_SEARCH, fixed, name, about, away, prompt, float(budget)], make)
    )


def concept_table(
    model: Model,
    words: Sequence[str],
    *,
    dictionary: Dictionary | str | None = None,
    budget: float = BUDGET,
    seed: int = 0,
    file: str | Path | None = None,
    shard: str | None = None,
    executor: str | Executor | None = None,
    progress: Progress | None = None,
) -> ConceptTable:
    """`concept` of each of several words or phrases, one after the other.

    dictionary, budget, seed: as `concept` has them; examples are the model's own.
    file, shard, executor: as `ablation_sweep` has them; a unit is a word, and a shard has its own.

    Raises what `concept` does, and `SteerError` for no words, a word twice, and a file of other
    words.
    """
    if isinstance(words, str) or not words:
        raise SteerError("give a list of words, one or more; a single one is for `concept`")
    names = tuple(check_word(word) for word in words)
    if twice := {name for name in names if names.count(name) > 1}:
        raise SteerError(f"{', '.join(sorted(twice))} is there twice: give each word once")
    _check_budget(budget)
    used = _dictionary(model, dictionary)
    spread = Spread.of(file, shard, executor_of(executor))
    search = partial(_row, names, used, budget, seed)
    header = {
        "concepts": _SEARCH,
        "model": model.fingerprint,
        "dtype": model.precision,
        "dictionary": dictionary_content(used),
        "words": names,
        "budget": budget,
        "seed": seed,
    }
    job = Each("concepts", "searching", "word", len(names), search)
    rows = run(job, model, spread, header, progress)
    return ConceptTable(tuple(Concept.from_dict(row) for row in rows), shard or "")


def _row(
    names: Sequence[str],
    dictionary: Dictionary,
    budget: float,
    seed: int,
    model: Model,
    number: int,
) -> list[Row]:
    answer = concept(model, names[number], dictionary=dictionary, budget=budget, seed=seed)
    return [answer.to_dict()]


def _check_budget(budget: object) -> None:
    if isinstance(budget, bool) or not isinstance(budget, int | float) or not 0 < budget < math.inf:
        raise SteerError(f"budget={budget!r} is not allowed: it is nats a token, above 0")


def _dictionary(model: Model, given: Dictionary | str | None) -> Dictionary:
    if isinstance(given, str):
        return model.dictionary(given)
    if given is not None:
        model.site_of(given)
        return given
    if model.name != DEFAULT_MODEL:
        raise SteerError(f"give the dictionary of {model.name} whose features to use")
    return model.dictionary(EARLY)
