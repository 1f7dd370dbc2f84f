"""E7: is a learned feature a better handle than what one gets without a dictionary?

Each concept is steered by its feature (code clamp, addition, projection clamp), by a difference of
means, by a random direction, by an unrelated feature, and by asking for it in the prompt. All edits
are at the dose that costs the same ΔCE on neutral text, so that none is stronger for being larger.
Then many random features are steered, and those with a high output score compared with the rest
and with random choices of as many (`apps.reproduce.e7_steering.filter`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from apps.reproduce.e7_steering.bench import Bench, Steered, make_bench
from apps.reproduce.e7_steering.concepts import CONCEPTS, Concept
from apps.reproduce.e7_steering.filter import Filter, steer_random_features
from apps.reproduce.e7_steering.methods import Method, concept_directions, methods_of
from apps.reproduce.e7_steering.table import tabulate
from apps.reproduce.kept.results import parts_of_each
from apps.reproduce.result import Table
from apps.reproduce.settings import Settings
from apps.reproduce.shared.texts import passages
from dictionaries.training.fast_dtype import fast_dtype
from steer.edits import Intervention
from steer.evals.steering.answers import Answer, Question, answers
from steer.evals.steering.judges import Mentions
from steer.evals.steering.matched_doses import MatchedDose, match_doses

if TYPE_CHECKING:
    pass

DICTIONARY = "smollm2-135m/resid_post.20"


def run(settings: Settings) -> Table:
    """On the default model and its dictionary of block 20."""
    model = settings.load(fast_dtype())
    dictionary = model.dictionary(DICTIONARY)
    texts = [passage.text for passage in passages(model, settings.count(6, 4), 48, settings.seed)]
    bench = make_bench(settings, model, dictionary, texts)
    concepts = CONCEPTS[: settings.count(len(CONCEPTS), 2)]
    return compare(settings, bench, concepts)


def compare(settings: Settings, bench: Bench, concepts: Sequence[Concept]) -> Table:
    """Every method on every concept, and the output score's filter, as one table."""
    count = settings.count(48, 24)
    means = concept_directions(bench.model, bench.dictionary, concepts, count, settings.seed)
    unsteered = answer(bench, [Method("unsteered", None)], [None])
    shared = bench.made_of

    def made_of(item: tuple[int, Concept]) -> dict[str, Any]:
        seed, concept = item
        return {**shared, "concept": asdict(concept), "seed": seed}

    def steer(item: tuple[int, Concept]) -> list[Steered]:
        seed, concept = item
        return steer_concept(bench, concept, means.get(concept.name), unsteered[0], seed)

    numbered = list(enumerate(concepts))
    steered = parts_of_each(
        settings, "steering concepts", "steered", made_of, numbered, steer, Steered
    )
    scored = steer_random_features(settings, bench)
    return tabulate(steered, scored, _notes(bench, concepts, means, scored))


def steer_concept(
    bench: Bench, concept: Concept, direction: Tensor | None, unsteered: list[Answer], seed: int
) -> list[Steered]:
    """Every method on the concept; the unsteered answers first."""
    return steer_by(
        bench, concept, methods_of(bench.dictionary, concept, direction, seed), unsteered
    )


def steer_by(
    bench: Bench, concept: Concept, methods: Sequence[Method], unsteered: list[Answer]
) -> list[Steered]:
    """Every method at its matched dose, decoded together, and rated by the same judges; the
    unsteered answers first."""
    edits = [method.edit for method in methods if method.edit is not None]
    doses = iter(
        match_doses(
            bench.neutral,
            edits,
            bench.budget,
            start=bench.start,
            tolerance=0.1,
            dictionaries=[bench.dictionary],
        )
    )
    matched = [next(doses) if method.edit is not None else None for method in methods]
    steered = answer(bench, methods, matched)
    judges = bench.judges(Mentions(concept.pattern))
    flat = [reply for part in (unsteered, *steered) for reply in part]
    ratings = torch.stack(
        [j(unsteered)(flat) for j in (judges.concept, judges.instruction, judges.fluency)], dim=-1
    )
    shaped = ratings.view(1 + len(methods), len(bench.instructions), len(bench.seeds), 3)
    tried = zip([Method("unsteered", None), *methods], shaped, [None, *matched], strict=True)
    return [
        Steered(concept.name, method.name, rated, dose, method.density)
        for method, rated, dose in tried
    ]


def answer(
    bench: Bench, methods: Sequence[Method], matched: Sequence[MatchedDose | None]
) -> list[list[Answer]]:
    """Each method's answers, instruction by instruction and seed by seed."""
    questions = [
        Question.ask(bench.model, instruction, method.hint)
        for method in methods
        for instruction in bench.instructions
    ]
    edits: list[tuple[Intervention, ...]] = []
    for method, dose in zip(methods, matched, strict=True):
        given = () if method.edit is None or dose is None else (method.edit(dose.dose),)
        edits += [given] * len(bench.instructions)
    by_seed = [
        answers(
            bench.model,
            questions,
            edits,
            max_new_tokens=bench.new_tokens,
            seed=seed,
            dictionaries=[bench.dictionary],
        )
        for seed in bench.seeds
    ]
    flat = [row[place] for place in range(len(questions)) for row in by_seed]
    size = len(bench.instructions) * len(bench.seeds)
    return [flat[start : start + size] for start in range(0, len(flat), size)]


def _notes(
    bench: Bench, concepts: Sequence[Concept], means: dict[str, Tensor], scored: Filter
) -> tuple[str, ...]:
    missing = [concept.name for concept in concepts if concept.name not in means]
    return (
        f"{len(concepts)} concepts × {len(bench.instructions)} instructions × {len(bench.seeds)} "
        f"seeds, {bench.new_tokens} tokens, temperature 1, no repetition penalty; edits at every "
        f"token but the first, at the dose that costs {bench.budget} nats per token on "
        f"{len(bench.neutral)} passages (±10%). The prompt has no dose.",
        "Judges: concept by counting matches of its pattern (1: one, 2: two or more); instruction "
        "by sentence embeddings; fluency by the untouched model's loss and repeated token pairs. "
        "A count can't tell a good use of a word from a bad one; fluency and the harmonic mean "
        "have to.",
        f"Random features: {len(scored.features)}, {scored.description}.",
        "The concepts' features were picked because they steer (the README's list), where AxBench "
        "picks them by label: the comparison says what a good feature can do, not what a labelled "
        "one does on average. The difference of means is over all tokens of the texts, as in "
        "AxBench.",
        "Random features have no label, so they are rated by what they fire on. A feature that "
        "writes something else than what it reads gets no credit for it, which may be why the "
        "output score does not help here: Arad et al. rate by labels.",
        *([f"No difference of means for: {', '.join(missing)}."] if missing else []),
    )
