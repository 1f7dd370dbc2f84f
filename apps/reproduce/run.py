"""Run experiments, write their results, and say how long the rest will take."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from importlib.metadata import version

import torch

from apps.reproduce.registry import EXPERIMENTS, Experiment
from apps.reproduce.result import Result
from apps.reproduce.settings import Settings
from dictionaries.training.fast_dtype import fast_dtype
from steer.disk.merge import Shard
from steer.errors import SteerError

_PACKAGES = ("torch", "transformers", "nnsight")
_TOO_SMALL = (
    "A fast run: it shows that everything works. Its samples are too small, and its dictionaries "
    "too little trained, for a verdict on any claim."
)


def run(experiment: Experiment, settings: Settings) -> Result:
    """Run one and write its files into `settings.out`."""
    started = time.perf_counter()
    torch.manual_seed(settings.seed)
    table = experiment.run(settings)
    table = table.undecided(_TOO_SMALL) if settings.fast else table
    result = Result(
        name=experiment.name,
        title=experiment.title,
        table=table,
        settings={
            "model": settings.model,
            "fingerprint": settings.load().fingerprint,
            "fast": settings.fast,
            "seed": settings.seed,
            "scale": settings.scale,
            "fast_dtype": fast_dtype(),
            **({"judge": settings.judge} if settings.judge else {}),
        },
        versions={package: version(package) for package in _PACKAGES},
        seconds=round(time.perf_counter() - started, 1),
    )
    return replace(result, left_out=result.write(settings.out))


def of_shard(experiments: Sequence[Experiment], shard: str) -> list[Experiment]:
    """Those of one process of several, which share what is trained: whoever needs it first makes
    it, and the others wait.

    Raises `SteerError` for what is no shard, and for one without an experiment.
    """
    which = Shard.parse(shard)
    mine = [experiment for number, experiment in enumerate(experiments) if which.has(0, number)]
    if not mine:
        raise SteerError(f"shard {which} has no experiment: there are {len(experiments)}")
    return mine


def run_all(
    settings: Settings, experiments: Sequence[Experiment] = tuple(EXPERIMENTS.values())
) -> Iterator[Result]:
    """Every experiment in turn; progress carries an estimate of the minutes left.

    The estimate is the registry's, corrected by how the experiments before turned out.
    """
    expected = [e.minutes[settings.fast] * 60 for e in experiments]
    spent = planned = 0.0
    for number, experiment in enumerate(experiments):
        pace = spent / planned if planned else 1.0
        left = max(1, round(sum(expected[number:]) * pace / 60))
        prefix = f"{experiment.name}, {left} min left in all: "

        def report(what: str, done: int, total: int, prefix: str = prefix) -> None:
            settings.progress(prefix + what, done, total)

        result = run(experiment, replace(settings, progress=report))
        spent, planned = spent + result.seconds, planned + expected[number]
        yield result
