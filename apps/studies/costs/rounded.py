"""`python -m apps.studies.costs.rounded [MOST]`: what texts written in bfloat16 lose, and gain.

Of each prompt the baseline and a steered text, greedy, in both dtypes, as the page writes them: two
rows of one batch. Then fp32's texts are read again by both. A line of JSON a prompt is appended to
the rows as it is there; what is there is not run again. Then the rows are summed up. Times are
the processor's.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Collection, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from torch import Tensor

from steer import Clamp, Intervention, load
from steer.maths.metrics import kl
from steer.model import Model
from steer.runs.generate import Run
from steer.splice.edited import edited_logits
from steer.verdicts.texts import default_prompts

RESULTS = Path(__file__).parent / "rounded.jsonl"
NAME = "smollm2-135m/resid_post.20"
EDIT = Intervention(NAME, [Clamp(1176, "2x max")])
TOKENS = 60
FULL, HALF = "float32", "bfloat16"
TEXTS = ("unsteered", "steered")


def first_difference(one: tuple[int, ...], other: tuple[int, ...]) -> int | None:
    """Of the tokens written, the first that differs, from 0; None if none does."""
    pairs = enumerate(zip(one, other, strict=False))
    at = next((place for place, (a, b) in pairs if a != b), None)
    return min(len(one), len(other)) if at is None and len(one) != len(other) else at


def written(model: Model, prompt: str) -> tuple[Run, float]:
    """Both texts, and how many seconds a token they took."""
    begun = time.process_time()
    run = model.generate(prompt, EDIT, max_new_tokens=TOKENS, temperature=0.0, if_silent="ignore")
    steps = max(len(run.ids), len(run.baseline.ids))
    return run, (time.process_time() - begun) / steps


def forced(model: Model, prompt: str, ids: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Clean and edited logits [t, V], in fp32, at the tokens of a text that is given."""
    read = list(model.tokenizer(prompt)["input_ids"])
    tokens, mask = model.pad([[*read, *ids[:-1]]])
    span = model.span(tokens, mask)
    plans = model.plans([EDIT], rows=slice(0, 1))
    edited, _ = edited_logits(model, tokens, span, plans)
    clean = model.logits(tokens, mask)
    start = len(read) - 1
    return clean[0, start:].float(), edited[0, start:].float()


def row(models: dict[str, Model], number: int, prompt: str) -> dict[str, Any]:
    """One prompt: who writes first takes turns."""
    order = (FULL, HALF) if number % 2 else (HALF, FULL)
    runs = {dtype: written(models[dtype], prompt) for dtype in order}
    (full, full_seconds), (half, half_seconds) = runs[FULL], runs[HALF]
    told: dict[str, Any] = {
        "prompt": prompt,
        "threads": torch.get_num_threads(),
        "seconds": {FULL: round(full_seconds, 5), HALF: round(half_seconds, 5)},
    }
    written_by = (full.baseline.ids, half.baseline.ids), (full.ids, half.ids)
    for acting, (one, other) in enumerate(written_by):
        logits = {dtype: forced(model, prompt, one) for dtype, model in models.items()}
        told[TEXTS[acting]] = {
            "tokens": len(one),
            "first_difference": first_difference(one, other),
            "kl": float(kl(logits[FULL][acting], logits[HALF][acting]).mean()),
            "effect": {dtype: float(kl(*pair).mean()) for dtype, pair in logits.items()},
        }
    return told


def summary(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Of rows as `row` gives them; a first difference is a mean over the texts that differ."""
    ratios = sorted(record["seconds"][FULL] / record["seconds"][HALF] for record in rows)
    told: dict[str, Any] = {
        "prompts": len(rows),
        "speed": [ratios[0], statistics.median(ratios), ratios[-1]],
    }
    for which in TEXTS:
        texts = [record[which] for record in rows]
        places = [text["first_difference"] for text in texts]
        differing = [place for place in places if place is not None]
        off = [text["effect"][HALF] / text["effect"][FULL] - 1 for text in texts]
        told[which] = {
            "equal": places.count(None),
            "first_difference": statistics.mean(differing) if differing else None,
            "kl": statistics.mean(text["kl"] for text in texts),
            "effect_off": statistics.median(map(abs, off)),
        }
    return told


def main(most: Annotated[int | None, typer.Argument()] = None) -> None:
    """Append what is missing, and print what all rows say; most: prompts, 0 for none."""
    done = {record["prompt"] for record in kept()}
    if most != 0:
        measure(done, most)
    typer.echo(json.dumps(summary(kept()), indent=1))


def kept() -> list[dict[str, Any]]:
    """The rows that are there."""
    text = RESULTS.read_text() if RESULTS.exists() else ""
    return [json.loads(line) for line in text.splitlines()]


def measure(done: Collection[str], most: int | None) -> None:
    """Append the rows of prompts that are not done."""
    models = {dtype: load(dtype=dtype) for dtype in (FULL, HALF)}
    for model in models.values():
        model.generate("The old bridge", EDIT, max_new_tokens=2)
    prompts = [plain for plain, *_ in default_prompts()]
    missing = ((n, prompt) for n, prompt in enumerate(prompts) if prompt not in done)
    for number, prompt in islice(missing, most):
        told = row(models, number, prompt)
        with RESULTS.open("a") as file:
            file.write(json.dumps(told) + "\n")


if __name__ == "__main__":
    typer.run(main)
