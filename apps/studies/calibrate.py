"""How far features can be pushed before text falls apart: `steer calibrate`.

Random features are clamped at multiples of the residual norm while a few prompts are continued. A
continuation is judged without a judge: its loss under the model without the edit, and how many of
its word pairs are different. Dose 0 is the row to compare with.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch

from dictionaries.dictionary import Dictionary
from steer.edits import Clamp, Intervention
from steer.lm.continuations import Continuation
from steer.maths.numbers import check_whole
from steer.model import Model
from steer.progress import Progress
from steer.runs.fluency import distinct_pairs, losses
from steer.runs.generate import Run

DOSES = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0, 1.3, 1.6)
PROMPTS = ("The old bridge", "My friend told me that", "In the last ten years")


@dataclass(frozen=True)
class DosePoint:
    """Means over features and prompts at one relative dose ‖Δ‖/‖x‖.

    loss: of the continuation under the untouched model, nats per token.
    distinct: share of its word pairs that are different.
    """

    dose: float
    loss: float
    distinct: float
    texts: int


def calibrate(
    model: Model,
    dictionary: Dictionary,
    *,
    features: int = 24,
    tokens: int = 30,
    seed: int = 0,
    progress: Progress | None = None,
) -> list[DosePoint]:
    """Seeded random features, each at every dose on every prompt, decoded in batches."""
    check_whole("features", features, dictionary.width, least=1)
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.randperm(dictionary.width, generator=generator)[:features].tolist()
    points = []
    for number, dose in enumerate(DOSES):
        runs = [
            run
            for prompt in PROMPTS
            for run in _runs(model, dictionary, prompt, chosen, dose, tokens)
        ]
        texts = [(run.prompt, run.ids if dose else run.baseline.ids) for run in runs]
        loss = losses(model, [continuation(model, prompt, ids) for prompt, ids in texts])
        kinds = [_distinct(model.tokenizer.decode(ids)) for _, ids in texts]
        points.append(DosePoint(dose, loss.mean().item(), sum(kinds) / len(kinds), len(runs)))
        if progress:
            progress("calibrating", number + 1, len(DOSES))
    return points


def _runs(
    model: Model,
    dictionary: Dictionary,
    prompt: str,
    features: Sequence[int],
    dose: float,
    tokens: int,
) -> list[Run]:
    edits = [
        Intervention(dictionary.name, [Clamp(feature, f"{dose or 0.1}x norm", positions="1:")])
        for feature in (features if dose else features[:1])
    ]
    return model.generate_batch(
        [prompt], edits, max_new_tokens=tokens, dictionaries=[dictionary], repetition_penalty=1.1
    )


def continuation(model: Model, prompt: str, ids: Sequence[int]) -> Continuation:
    """A text that the model wrote after a prompt."""
    return Continuation(tuple(model.tokenizer(prompt)["input_ids"]), tuple(ids))


def _distinct(text: str) -> float:
    """Share of distinct pairs of words."""
    return distinct_pairs(text.split())


def to_dicts(points: Sequence[DosePoint]) -> list[dict[str, Any]]:
    """Plain data, for JSON."""
    return [asdict(point) for point in points]
