"""`python -m apps.studies.costs.screened [MOST]`: how often a screen finds the top; its cost.

Every active feature is run exactly, and again behind a screen, on the same prompts: indirect
objects with their difference of logits, and others with KL. A line of JSON a case is appended to
the results as it is there; what is there is not run again.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import typer

from apps.studies.ioi_prompts import cases
from steer import Screen, ablation_sweep, load
from steer.effects.sweep.result import Sweep
from steer.model import Model

RESULTS = Path(__file__).parent / "screened.jsonl"
SITES = ("smollm2-135m/resid_post.20", "smollm2-135m/resid_post.10")
TEXTS = (
    "When the rain stopped she walked down to the harbour, where three boats were being painted "
    "blue, and asked an old man with a dog how far it was to the next",
    "The committee met on Tuesday to discuss the plans for the new library in the town, and after "
    "two hours nobody could say whether the money",
    "In the next few years, the company will have to decide whether its factories in the north are "
    "to be closed, since the price of",
)
NAMES = 4
"""Pairs of names a case of indirect objects."""
TOP = 50


def runs(model: Model) -> Iterator[tuple[str, Callable[..., Sweep]]]:
    """Names, and sweeps that take a screen."""
    for number, text in enumerate(TEXTS):
        for site in SITES:
            dictionary = model.dictionary(site)
            yield (
                f"{site}, kl, text {number + 1}",
                partial(ablation_sweep, model, text, dictionary, metric="kl"),
            )
            pairs = cases(model, NAMES, seed=number)
            prompts, metrics = [pair.prompt for pair in pairs], [pair.metric for pair in pairs]
            sweep = partial(ablation_sweep, model, prompts, dictionary, metric=metrics)
            yield f"{site}, logit difference, names {number + 1}", sweep


def measured(sweep: Callable[..., Sweep]) -> dict[str, Any]:
    """How many of the true top are found, and the processor's seconds of both."""
    sweeps, seconds = [], []
    for screen in (Screen(TOP), None):
        begun = time.process_time()
        sweeps.append(sweep(screen=screen))
        seconds.append(time.process_time() - begun)
    quick, whole = sweeps
    assert quick.screened is not None
    top = set(whole.largest(TOP))
    signed = set(whole.frame["feature"].head(TOP))
    return {
        "features": len(whole.features),
        "rows": len(whole.rows),
        "run": quick.screened.run,
        "sure": quick.screened.sure,
        "cost": round(quick.screened.cost, 4),
        "found": len(top & set(quick.largest(TOP))),
        "found_by_mean": len(signed & set(quick.frame["feature"].head(TOP))),
        "top": TOP,
        "seconds_screened": round(seconds[0], 2),
        "seconds_exact": round(seconds[1], 2),
    }


def main(most: Annotated[int | None, typer.Argument()] = None) -> None:
    """Append what is missing; most: cases."""
    text = RESULTS.read_text() if RESULTS.exists() else ""
    done = {json.loads(line)["case"] for line in text.splitlines()}
    missing = (run for run in runs(load()) if run[0] not in done)
    for name, sweep in islice(missing, most):
        row = {"case": name, **measured(sweep)}
        with RESULTS.open("a") as file:
            file.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    typer.run(main)
