"""How far features can be pushed before text falls apart: `steer calibrate`.

Random features are clamped at multiples of the residual norm while a few prompts are continued. A
continuation is judged without a judge: its loss under the model without the edit, and how many of
its word pairs are different. Dose 0 is the row to compare with.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import torch

from dictionaries.dictionary import Dictionary
from steer.disk.cache import Progress
from steer.edits import Clamp, Intervention
from steer.lm.prompts import Prompt, pad
from steer.maths import metrics
from steer.model import Model
from steer.runs.generate import Run
from steer.splice import passes

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
        losses = [continuation_loss(model, prompt, ids) for prompt, ids in texts]
        kinds = [_distinct(model.tokenizer.decode(ids)) for _, ids in texts]
        points.append(
            DosePoint(dose, sum(losses) / len(losses), sum(kinds) / len(kinds), len(runs))
        )
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


def continuation_loss(model: Model, prompt: str, ids: Sequence[int]) -> float:
    """Loss of a continuation of the prompt under the untouched model, nats per token."""
    before = model.tokenizer(prompt)["input_ids"]
    rows, mask = pad(model, [Prompt(prompt, (*before, *ids))])
    logits, _ = passes.logits(model.nn, rows, model.span(rows, mask), [])
    return metrics.cross_entropy(logits, rows)[0, len(before) - 1 :].mean().item()


def _distinct(text: str) -> float:
    words = text.split()
    pairs = list(pairwise(words))
    return len(set(pairs)) / len(pairs) if pairs else 0.0


def to_dicts(points: Sequence[DosePoint]) -> list[dict[str, Any]]:
    """Plain data, for JSON."""
    return [asdict(point) for point in points]
