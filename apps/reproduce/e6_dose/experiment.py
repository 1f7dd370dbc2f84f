"""E6: dose response. What clamping a feature to multiples of its maximum does to neutral text and
to what the model writes, from unsteered to collapse.

On neutral passages: ‖Δ‖/‖x‖, the rise of the passage's own loss, KL, and the log-probability of
the ten tokens that the feature promotes. In generated text: the share of words of the feature's
concept, the text's loss under the untouched model, and whether the concept stays after the clamp is
let go of (hysteresis). A concept is a pattern written down from the README's label, not from what
the decoder row promotes; for random features, which have no label, it is the tokens promoted.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from apps.reproduce.e6_dose.dosed import Dosed
from apps.reproduce.e6_dose.table import tabulate
from apps.reproduce.kept.results import rows_of_each
from apps.reproduce.result import Table
from apps.reproduce.settings import Settings
from apps.reproduce.shared import texts
from apps.studies.calibrate import continuation
from dictionaries.dictionary import Dictionary
from steer.edits import Clamp, Intervention
from steer.edits.schedules import First, Schedule
from steer.effects.dose.dose_response import dose_response
from steer.effects.metric import LogProbability
from steer.runs.fluency import losses
from steer.runs.generate import Run

if TYPE_CHECKING:
    from steer.model import Model

SITE = "resid_post.20"
REVISION = 1
"""Of what a row means: raise it, and interrupted runs start anew."""
MULTIPLES = (-10.0, -5.0, -2.0, -1.0, 0.0, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0)
WRITTEN = (0.5, 1.0, 2.0, 5.0)
"""Multiples at which text is written."""
LET_GO = 1.0
PROMPTS = ("The old bridge", "My friend told me that", "In the last ten years")
TOKENS = 24
CONCEPTS: dict[int, str] = {
    1176: r"\w{2,}er|more|less|worse|than",
    2259: r"\w{2,}est|most|least|worst",
    5520: r"but",
    1532: r"years?|months?|weeks?|days?|hours?|minutes?|decades?|century|centuries|ago|lifetime",
    641: r"great|awesome|cool|amazing|xD|lol|yeah|dude|wow|fun|beautiful|love|\w*!+",
    571: r"every|each|per|all|everyone|everything",
    3370: r"problems?|issues?|trouble|difficult\w*|challeng\w*|concerns?",
    2631: r"questions?|what|why|how|whether|who|ask\w*|answer\w*",
    2711: r"focus\w*|attention|concentrat\w*|emphasi\w*|center\w*",
    4159: r"\d[\d,.]*",
    1491: r"all|whole|entire\w*|everything|total\w*|complete\w*",
}
"""Feature -> its concept, for the eleven features that the README lists as steering."""


@dataclass(frozen=True)
class Sizes:
    """passages: neutral texts; prompts: that are continued, three at most; random: features."""

    passages: int
    prompts: int
    random: int


def run(settings: Settings) -> Table:
    """The README's features and random ones of the shipped dictionary at block 20."""
    model = settings.load()
    dictionary = model.dictionary(f"{settings.model}/{SITE}")
    sizes = Sizes(
        passages=settings.count(full=4, fast=2),
        prompts=settings.count(full=2, fast=1, least=1),
        random=settings.count(full=7, fast=2),
    )
    listed = dict(list(CONCEPTS.items())[: settings.count(full=11, fast=2)])
    concepts = listed | random_concepts(model, dictionary, sizes.random, settings.seed)
    neutral = [p.text for p in texts.passages(model, sizes.passages, 24, settings.seed)]

    def find(item: tuple[int, str]) -> list[Dosed]:
        feature, concept = item
        group = "listed" if feature in listed else "random"
        return [
            *read(model, dictionary, feature, neutral, group),
            *write(model, dictionary, feature, concept, PROMPTS[: sizes.prompts], group),
        ]

    dosed = rows_of_each(
        settings,
        "dose response",
        {"revision": REVISION, "passages": neutral, "prompts": list(PROMPTS[: sizes.prompts])},
        {str(feature): (feature, concept) for feature, concept in concepts.items()},
        find,
        Dosed,
    )
    return tabulate(dosed, settings.seed)


def random_concepts(model: Model, dictionary: Dictionary, count: int, seed: int) -> dict[int, str]:
    """Seeded random features, none of the listed, and the words that they promote."""
    assert dictionary.statistics is not None
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(dictionary.width, generator=generator).tolist()
    alive = [i for i in order if dictionary.statistics.maximum[i] > 0 and i not in CONCEPTS]
    return {
        feature: "|".join(
            re.escape(model.token(token).strip())
            for token in dictionary.statistics.promoted[feature].tolist()
            if model.token(token).strip()
        )
        for feature in alive[:count]
    }


def read(
    model: Model, dictionary: Dictionary, feature: int, passages: Sequence[str], group: str
) -> list[Dosed]:
    """Every multiple on the passages."""
    assert dictionary.statistics is not None
    promoted = tuple(dictionary.statistics.promoted[feature].tolist())
    response = dose_response(
        model,
        passages,
        dictionary,
        feature,
        [f"{multiple}x max" for multiple in MULTIPLES],
        metric=LogProbability(promoted),
    )
    return [
        Dosed(
            group=group,
            feature=feature,
            dose=f"{multiple:g}x max",
            multiple=multiple,
            figures={
                name: getattr(response, name)[number].mean().item()
                for name in ("relative_dose", "delta_ce", "kl", "effect")
            },
        )
        for number, multiple in enumerate(MULTIPLES)
    ]


def write(
    model: Model,
    dictionary: Dictionary,
    feature: int,
    concept: str,
    prompts: Sequence[str],
    group: str,
) -> list[Dosed]:
    """Text at the written multiples, unsteered, and steered only in its first half."""
    clamps: dict[tuple[str, float | None], Clamp] = {
        (f"{multiple:g}x max", multiple): _clamp(feature, multiple) for multiple in WRITTEN
    }
    clamps["let go", None] = _clamp(feature, LET_GO, First(TOKENS // 2))
    requests = [(prompt, edit) for edit in clamps.values() for prompt in prompts]
    runs = model.generate_batch(
        [prompt for prompt, _ in requests],
        [Intervention(dictionary.name, [edit]) for _, edit in requests],
        max_new_tokens=TOKENS,
        repetition_penalty=1.1,
        dictionaries=[dictionary],
        if_silent="ignore",
    )
    names = [name for name in clamps for _ in prompts]
    by_name = {name: [r for n, r in zip(names, runs, strict=True) if n == name] for name in clamps}
    plain = [(run.prompt, run.baseline.ids) for run in runs[: len(prompts)]]
    dosed = [Dosed(group, feature, "none", 0.0, _figures(model, plain, concept))]
    for (dose, multiple), several in by_name.items():
        dosed.append(
            Dosed(group, feature, dose, multiple, _figures(model, _written(several), concept))
        )
    return dosed


def _clamp(feature: int, multiple: float, schedule: Schedule | None = None) -> Clamp:
    return Clamp(feature, f"{multiple}x max", positions="1:", schedule=schedule)


def _written(runs: Sequence[Run]) -> list[tuple[str, Sequence[int]]]:
    return [(run.prompt, run.ids) for run in runs]


def _figures(
    model: Model, written: Sequence[tuple[str, Sequence[int]]], concept: str
) -> dict[str, float]:
    """Means over texts: share of concept words, in all and in the second half; loss."""
    whole = [_share(model.tokenizer.decode(ids), concept) for _, ids in written]
    second = [_share(model.tokenizer.decode(ids[TOKENS // 2 :]), concept) for _, ids in written]
    texts = [continuation(model, prompt, ids) for prompt, ids in written if len(ids)]
    return {
        "concept": math.fsum(whole) / len(whole),
        "concept_second_half": math.fsum(second) / len(second),
        "loss": losses(model, texts).mean().item(),
    }


def _share(text: str, concept: str) -> float:
    """Share of words that are the concept's; punctuation around a word does not count."""
    words = [word.strip("\"'“”()[]:;.,?") for word in text.split()]
    matched = [re.fullmatch(concept, word, re.IGNORECASE) is not None for word in words if word]
    return sum(matched) / len(matched) if matched else 0.0
