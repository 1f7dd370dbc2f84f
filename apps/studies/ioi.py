"""Which features make the model say the indirect object's name, and how surely that is known.

"When Mary and John went to the store, John gave a drink to" → " Mary" (Wang et al. 2022): random
name pairs in a few templates; the exact effect of ablating each feature on logit(Mary) −
logit(John), with controls; the gradients' estimates of the same; and how far they agree.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from steer.effects.attribution.result import Agreement, Attribution
from steer.effects.metric import LogitDifference
from steer.effects.sweep.result import Sweep

if TYPE_CHECKING:
    from dictionaries.dictionary import Dictionary
    from steer.model import Model
    from steer.progress import Progress

TEMPLATES = (
    "When {a} and {b} went to the store, {b} gave a drink to",
    "Then {a} and {b} had a long talk, and after it {b} said goodbye to",
    "After {a} and {b} came home from work, {b} handed the keys to",
)
NAMES = [
    "Mary",
    "John",
    "Alice",
    "Tom",
    "Anna",
    "Paul",
    "Sarah",
    "James",
    "Emma",
    "Mark",
    "Lucy",
    "David",
    "Jane",
    "Peter",
    "Kate",
    "Henry",
    "Laura",
    "George",
    "Susan",
    "Robert",
    "Lisa",
    "Michael",
    "Julia",
    "Daniel",
]


@dataclass(frozen=True)
class Case:
    """A prompt, the name that should follow, and the one that should not."""

    prompt: str
    answer: str
    other: str


@dataclass(frozen=True, eq=False)
class Story:
    """The sweep, the estimates and their agreements, on the same cases.

    accuracy: share of the cases where the answer's logit is the larger of the two names'.
    difference: mean clean logit difference.
    """

    cases: tuple[Case, ...]
    accuracy: float
    difference: float
    sweep: Sweep
    estimates: tuple[Attribution, ...]
    agreements: tuple[Agreement, ...]

    def to_dict(self, top: int | None = None) -> dict[str, Any]:
        """Plain data, for JSON."""
        return {
            **self.sweep.to_dict(top),
            "accuracy": self.accuracy,
            "difference": self.difference,
            "agreement": [each.to_dict() for each in self.agreements],
        }


def cases(model: Model, count: int, seed: int = 0) -> list[Case]:
    """Random ordered pairs of names that are one token each, the templates in turn."""
    draw = random.Random(seed)
    names = [name for name in NAMES if len(model.tokenizer.encode(f" {name}")) == 1]
    found: dict[Case, None] = {}
    while len(found) < count:
        a, b = draw.sample(names, 2)
        template = TEMPLATES[len(found) % len(TEMPLATES)]
        found[Case(template.format(a=a, b=b), f" {a}", f" {b}")] = None
    return list(found)


def story(
    model: Model,
    dictionary: Dictionary,
    chosen: Sequence[Case],
    *,
    draws: int = 4,
    k: int = 10,
    progress: Progress | None = None,
) -> Story:
    """Sweep, attribute (gradient × activation, and integrated gradients) and compare."""
    from steer.effects.attribution.attribution import attribution
    from steer.effects.attribution.result import compare
    from steer.effects.sweep.ablation_sweep import ablation_sweep
    from steer.effects.sweep.controls import Against

    prompts = [case.prompt for case in chosen]
    metrics = [LogitDifference(case.answer, case.other) for case in chosen]
    against = Against(draws=draws) if draws else None
    swept = ablation_sweep(
        model, prompts, dictionary, metric=metrics, against=against, progress=progress
    )
    estimates = [
        attribution(model, prompts, dictionary, metrics, method=method, progress=progress)
        for method in ("atp", "ig")
    ]
    clean = [_difference(model, case) for case in chosen]
    guesses: list[Attribution | str] = [*estimates, "activation"]
    return Story(
        cases=tuple(chosen),
        accuracy=sum(value > 0 for value in clean) / len(clean),
        difference=sum(clean) / len(clean),
        sweep=swept,
        estimates=tuple(estimates),
        agreements=tuple(compare(each, swept, k=k) for each in guesses),
    )


def _difference(model: Model, case: Case) -> float:
    from steer.splice import passes

    ids, mask = model.tokenize([case.prompt])
    with model.lock:
        logits, _ = passes.logits(model.nn, ids, model.span(ids, mask), [])
    last = logits[0, -1].double()
    return (last[model.token_id(case.answer)] - last[model.token_id(case.other)]).item()
