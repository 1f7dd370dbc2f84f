"""Tasks of lm-eval for a model with and without edits, compared document by document."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

import lm_eval
import torch
from torch import Tensor

from dictionaries.dictionary import Dictionary
from steer.edits import Intervention
from steer.evals.lm_eval.answers import Answers
from steer.evals.lm_eval.harness import TASKS, from_files, local_tasks, manager_of
from steer.evals.lm_eval.paired import Difference, Score, compare
from steer.evals.lm_eval.tally import Tally
from steer.jobs.executors import Executor, executor_of
from steer.jobs.run import Spread, run
from steer.maths.statistics import benjamini_hochberg
from steer.model import Model
from steer.progress import Progress
from steer.splice.resolve import edited_contents

__all__ = ["TASKS", "Evaluation", "evaluate", "local_tasks"]

Values = dict[tuple[str, str], Tensor]
"""(task, metric) -> one value a document, [n]."""


@dataclass(frozen=True, repr=False)
class Evaluation:
    """Scores of the baseline, differences that the edits make, and what the edits did.

    baseline: (task, metric) -> score; differences: for each edit, task and metric.
    tallies: (edit, task as it was asked for) -> receipt.
    settings: what is needed to repeat it.
    shard: which part of the answers is in its file; there are no scores then.
    """

    baseline: Mapping[tuple[str, str], Score]
    differences: tuple[Difference, ...]
    tallies: Mapping[tuple[str, str], Tally]
    settings: Mapping[str, Any]
    shard: str = ""

    def __repr__(self) -> str:
        head = f"Evaluation of {self.settings['model']}, {self.settings['dtype']}"
        if self.shard:
            return f"shard {self.shard} of an {head}: its answers are in its file"
        scores = [f"{task} {metric}: {score}" for (task, metric), score in self.baseline.items()]
        return "\n".join([head, *scores, *map(str, self.differences), *self.silent])

    @property
    def silent(self) -> tuple[str, ...]:
        """A line for every edit that changed nothing in a task."""
        return tuple(
            f"{task}: {entry}"
            for (_, task), tally in self.tallies.items()
            for entry in tally.silent
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        return {
            "settings": dict(self.settings),
            "baseline": [
                {"task": task, "metric": metric, **vars(score)}
                for (task, metric), score in self.baseline.items()
            ],
            "differences": [difference.to_dict() for difference in self.differences],
            "receipts": [
                {"edit": edit, "task": task, "receipt": tally.to_list()}
                for (edit, task), tally in self.tallies.items()
            ],
        }


def evaluate(
    model: Model,
    tasks: Sequence[str],
    edits: Mapping[str, Sequence[Intervention]] | None = None,
    *,
    dictionaries: Sequence[Dictionary] = (),
    limit: int | None = None,
    num_fewshot: int | None = None,
    batch_size: int = 16,
    apply_chat_template: bool = False,
    fewshot_as_multiturn: bool = False,
    include_path: str | Path | None = None,
    seed: int = 0,
    file: str | Path | None = None,
    shard: str | None = None,
    executor: str | Executor | None = None,
    progress: Progress | None = None,
) -> Evaluation:
    """Run tasks on the unedited model and under each edit.

    tasks: `ioi`, `agreement`, `gender`, `sentiment`, a task of your own by its file (`my.yaml`), or
        any that lm-eval knows; most of its own need the model hub for their data.
    edits: name -> interventions that act together.
    limit: only this many documents of each task; the first ones.
    num_fewshot: examples before each document; the same ones in every run.
    include_path: a folder with further tasks.
    seed: of few-shot examples and sampling.
    file, shard, executor: as `ablation_sweep` has them. A unit is a batch of lm-eval's; a shard
        writes its answers and has no scores.

    Raises `SteerError` for an unknown task, or one whose data can't be had, and for a file of
    another evaluation.
    """
    spread = Spread.of(file, shard, executor_of(executor))
    fewshot = {"fewshot_as_multiturn": fewshot_as_multiturn}
    options = {"apply_chat_template": apply_chat_template, "limit": limit, **fewshot}
    names, folders = from_files(tasks, include_path)
    asked = Answers(
        manager=manager_of(names, folders),
        tasks=tuple(names),
        runs={"": (), **{name: tuple(several) for name, several in (edits or {}).items()}},
        dictionaries=tuple(dictionaries),
        options=options,
        num_fewshot=num_fewshot,
        batch_size=batch_size,
        seed=seed,
    )
    asked.models(model)  # a bad edit is found before anything runs
    settings = {
        "model": model.name,
        "fingerprint": model.fingerprint,
        "dtype": model.precision,
        "tasks": names,
        "edits": {n: [edit.to_dict() for edit in edits] for n, edits in asked.runs.items() if n},
        "num_fewshot": num_fewshot,
        "batch_size": batch_size,
        "seed": seed,
        "lm_eval": lm_eval.__version__,
        **options,
    }
    header = {
        "evaluation": 1,
        "dictionaries": edited_contents(model, chain(*asked.runs.values()), dictionaries),
        **{name: value for name, value in settings.items() if name != "model"},
    }
    rows = run(asked, model, spread, header, progress)
    if not spread.whole:
        return Evaluation({}, (), {}, settings, str(spread.shard))
    values: dict[str, Values] = {name: {} for name in asked.runs}
    tallies: dict[tuple[str, str], Tally] = {}
    for scored in asked.scored(model, rows):
        values[scored.run] |= _values(scored.samples)
        if scored.run:
            tallies[scored.run, scored.task] = scored.tally
    baseline = {key: Score.of(numbers) for key, numbers in values[""].items()}
    return Evaluation(
        baseline=baseline,
        differences=_differences(values),
        tallies=tallies,
        settings=settings,
    )


def _values(samples: Mapping[str, Sequence[Mapping[str, Any]]]) -> Values:
    """Per-document values of every metric that is a number for a single document."""
    by_metric: dict[tuple[str, str], list[float]] = {}
    for task, documents in samples.items():
        for document in sorted(documents, key=lambda sample: sample["doc_id"]):
            for metric, value in _metrics(document):
                by_metric.setdefault((task, metric), []).append(value)
    return {key: torch.tensor(numbers, dtype=torch.float64) for key, numbers in by_metric.items()}


def _metrics(document: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    suffix = "" if document["filter"] == "none" else f",{document['filter']}"
    for metric in document["metrics"]:
        value = document[metric]
        if metric == "perplexity" or metric == "bits_per_byte":
            # lm-eval aggregates these from log-likelihoods, which is what a document has.
            total = value[0] if isinstance(value, tuple | list) else value
            yield f"loglikelihood{suffix}", float(total)
        elif isinstance(value, int | float):
            yield f"{metric}{suffix}", float(value)
    margin = _margin(document)
    if margin is not None:
        yield f"margin{suffix}", margin


def _margin(document: Mapping[str, Any]) -> float | None:
    """Log-probability of the right choice minus that of the best wrong one, in nats.

    It moves long before an answer flips. None for anything but multiple choice.
    """
    answer, responses = document["target"], document["filtered_resps"]
    if isinstance(answer, bool) or not isinstance(answer, int) or "acc" not in document["metrics"]:
        return None
    if "acc_mutual_info" in document["metrics"] or not 0 <= answer < len(responses):
        return None
    scores = [response[0] for response in responses]
    return float(scores[answer] - max(scores[:answer] + scores[answer + 1 :]))


def _differences(values: Mapping[str, Values]) -> tuple[Difference, ...]:
    differences = [
        compare(task, metric, name, before, values[name][task, metric])
        for (task, metric), before in values[""].items()
        for name in values
        if name
    ]
    adjusted = benjamini_hochberg(
        torch.tensor([difference.p for difference in differences], dtype=torch.float64)
    )
    return tuple(
        replace(difference, q=q)
        for difference, q in zip(differences, adjusted.tolist(), strict=True)
    )
