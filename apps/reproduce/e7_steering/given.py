"""E7 for dictionaries that are given by folder, such as baselines with a frozen part.

    python -m apps.reproduce.e7_steering.given --dictionary "frozen decoder=FOLDER"

Each of E7's concepts is steered by a feature of each dictionary that was chosen in the same way
(`chosen.py`), clamped at the dose that costs E7's ΔCE. Beside the shipped dictionary stand its
encoder with random rows, which is what choosing among 6,144 directions does alone, and E7's own
features of it. Those were picked by hand because they steer: that row is no fair comparison.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import torch
import typer

from apps.reproduce.e7_steering.bench import Bench, make_bench
from apps.reproduce.e7_steering.chosen import choose
from apps.reproduce.e7_steering.concepts import CONCEPTS, Concept
from apps.reproduce.e7_steering.experiment import answer, steer_by
from apps.reproduce.e7_steering.methods import Method, feature_edit
from apps.reproduce.settings import Settings
from apps.reproduce.shared import bases
from apps.reproduce.shared.given import (
    SHIPPED,
    GivenDictionaries,
    KeptRow,
    measure_given,
    read_given,
)
from apps.reproduce.shared.texts import passages
from dictionaries.dictionary import Dictionary
from dictionaries.training.fast_dtype import fast_dtype
from steer.disk.ledger import Ledger
from steer.evals.steering.answers import INSTRUCTIONS
from steer.evals.steering.score import RATINGS, harmonic_mean
from steer.maths.statistics import interval

RESULTS = Path(__file__).parents[1] / "results" / "e7_given.jsonl"
REVISION = 1
"""Of what a row means: raise it, and kept rows are refused."""
BY_HAND, RANDOM_ROWS, REFERENCE = "shipped, by hand", "random rows", "shipped"
_TEXTS, _LENGTH = 6, 48
"""Passages on which ΔCE is measured, as in E7, and their tokens."""


def run(
    bench: Bench, named: Mapping[str, Dictionary], concepts: Sequence[Concept], out: Path
) -> list[KeptRow]:
    """A row a concept and dictionary; what was measured before too."""
    (unsteered,) = answer(bench, [Method("unsteered", None)], [None])

    @cache
    def chosen(name: str) -> dict[str, tuple[int, float]]:
        return choose(bench.model, named[name], concepts)

    def measure(dictionary: Dictionary, concept: Concept) -> list[KeptRow]:
        name, mine = dictionary.name, replace(bench, dictionary=dictionary)
        by_hand = name == BY_HAND
        feature, likely = (concept.feature, None) if by_hand else chosen(name)[concept.name]
        method = Method("feature", feature_edit(dictionary, feature))
        before, after = steer_by(mine, concept, [method], unsteered)
        assert after.matched is not None
        means = after.ratings.mean((0, 1)).tolist()
        return [
            {
                "dictionary": name,
                "concept": concept.name,
                "feature": feature,
                "chosen at": likely,
                "score": harmonic_mean(after.ratings).mean().item(),
                "unsteered": harmonic_mean(before.ratings).mean().item(),
                **{f"{name} rating": mean for name, mean in zip(RATINGS, means, strict=True)},
                "dose": after.matched.dose,
                "delta_ce": after.matched.delta_ce,
            }
        ]

    shared = {name: value for name, value in bench.made_of.items() if name != "dictionary"}
    header = {**shared, "what": "E7, given", "given": REVISION}
    asked = {concept.name: concept for concept in concepts}
    return measure_given(Ledger(out, header), named, asked, measure)


def table(rows: Sequence[KeptRow]) -> str:
    """Mean score of each dictionary over the concepts that were steered in all of them."""
    names = dict.fromkeys(row["dictionary"] for row in rows)
    by_name = {name: {r["concept"]: r for r in rows if r["dictionary"] == name} for name in names}
    shared = [
        concept
        for concept in dict.fromkeys(row["concept"] for row in rows)
        if all(concept in own for own in by_name.values())
    ]
    lines = [
        f"| {len(shared)} concepts | score | minus {REFERENCE} | concept, instruction, fluency |",
        "|---|---|---|---|",
    ]
    for name, own in by_name.items():
        ratings = ", ".join(
            f"{_values(own, shared, f'{rating} rating').mean():.2f}" for rating in RATINGS
        )
        score, reference = (_values(by_name[n], shared, "score") for n in (name, REFERENCE))
        apart = "" if name == REFERENCE else str(interval(score - reference))
        lines.append(f"| {name} | {interval(score)} | {apart} | {ratings} |")
    unsteered = interval(_values(by_name[REFERENCE], shared, "unsteered"))
    return "\n".join([*lines, f"| unsteered | {unsteered} | | |"])


def _values(own: Mapping[str, Any], concepts: Sequence[str], column: str) -> torch.Tensor:
    return torch.tensor([own[concept][column] for concept in concepts], dtype=torch.float64)


def beside(shipped: Dictionary) -> dict[str, Dictionary]:
    """The shipped dictionary and what is compared with it whatever is given."""
    return {
        REFERENCE: shipped,
        RANDOM_ROWS: replace(bases.random_rows(shipped), name=RANDOM_ROWS),
        BY_HAND: replace(shipped, name=BY_HAND),
    }


def main(
    dictionary: GivenDictionaries = None,
    concepts: int = len(CONCEPTS),
    instructions: int = 8,
    seeds: int = 1,
    out: Path = RESULTS,
) -> None:
    """Run what is missing, and print the table."""
    settings = Settings()
    model = settings.load(fast_dtype())
    (shipped,) = read_given(model, [f"{REFERENCE}={SHIPPED}"]).values()
    texts = [passage.text for passage in passages(model, _TEXTS, _LENGTH, settings.seed)]
    bench = replace(
        make_bench(settings, model, shipped, texts),
        instructions=tuple(INSTRUCTIONS[:instructions]),
        seeds=tuple(range(seeds)),
    )
    named = {**beside(shipped), **read_given(model, dictionary)}
    print(table(run(bench, named, CONCEPTS[:concepts], out)))


if __name__ == "__main__":
    typer.run(main)
