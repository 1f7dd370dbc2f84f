"""`python -m apps.studies.costs.planned JOB`: a plan of sweep, harvest or train, and its truth.

Both are seconds that the processor worked, a thread. A line of JSON a run is appended to the rows.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import typer

from apps.studies.ioi_prompts import cases
from dictionaries.config import DictionaryConfig
from dictionaries.training.activations import ActivationStore, Contexts
from dictionaries.training.config import TrainConfig
from dictionaries.training.train import train
from steer.costs.rates import Rate, harvest_rate, sweep_rate, train_rate
from steer.effects.sweep.ablation_sweep import ablation_sweep
from steer.errors import SteerError
from steer.jobs.harvest import harvest
from steer.loading import load

RESULTS = Path(__file__).parent / "planned.jsonl"
SITE, D = "resid_post.20", 576
Job = tuple[Rate, Callable[[], int]]
"""What is expected, and the work itself, which gives its units."""


def sweep() -> Job:
    """Indirect objects, six pairs of names."""
    model = load()
    dictionary = model.dictionary(f"smollm2-135m/{SITE}")
    chosen = cases(model, 6, seed=3)
    prompts, metrics = [pair.prompt for pair in chosen], [pair.metric for pair in chosen]
    lengths = [len(ids) for ids in model.tokenize_each(prompts)]
    rate = sweep_rate(model, dictionary, round(sum(lengths) / len(lengths)))
    return rate, lambda: len(ablation_sweep(model, prompts, dictionary, metric=metrics).rows)


def harvested() -> Job:
    """48 contexts of 256 tokens."""
    model, n = load(), 48
    rate = harvest_rate(model, [SITE], 256, batch=4)
    drawn = torch.Generator().manual_seed(0)
    tokens = torch.randint(5, 40_000, (n, 256), generator=drawn, dtype=torch.int32)
    none = torch.zeros(n, dtype=torch.int32)

    def work() -> int:
        with tempfile.TemporaryDirectory() as folder:
            store = ActivationStore(Path(folder) / "activations", {SITE: D})
            harvest(model, Contexts(tokens, none, none.bool(), ("random",)), store)
        return tokens.numel()

    return rate, work


def trained() -> Job:
    """A hundred steps on random activations."""
    config = TrainConfig(samples=102_400, batch=1024)
    activations = torch.randn(20_480, D, generator=torch.Generator().manual_seed(1))

    def work() -> int:
        train(activations, config, DictionaryConfig(D, config.width, SITE))
        return config.samples

    return train_rate(D, config, len(activations)), work


JOBS: dict[str, Callable[[], Job]] = {"sweep": sweep, "harvest": harvested, "train": trained}


def main(job: str) -> None:
    """Plan and do one job."""
    if job not in JOBS:
        raise SteerError(f"job {job!r} is unknown; allowed: {', '.join(JOBS)}")
    rate, work = JOBS[job]()
    begun = time.process_time()
    units = work()
    threads = torch.get_num_threads()
    true = (time.process_time() - begun) / threads
    planned = 3600 * rate.hours(units)
    row: dict[str, Any] = {"job": job, "units": units, "threads": threads}
    row |= {"planned_seconds": round(planned, 2), "true_seconds": round(true, 2)}
    row |= {"ratio": round(planned / true, 3), "sample_seconds": round(rate.seconds, 2)}
    with RESULTS.open("a") as file:
        file.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    typer.run(main)
