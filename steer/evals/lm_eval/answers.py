"""What a model answers in tasks, in units: lm-eval's own batches, which can be run anywhere.

lm-eval goes through a task twice. The first time every batch is noted and answered with nothing;
the second time with what the model said of it, wherever that was. So few-shot examples, filters and
scores are lm-eval's own, and what shares a batch is what shares one in a single process.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import groupby
from typing import Any

import torch
from lm_eval.tasks import TaskManager

from dictionaries.dictionary import Dictionary
from steer.disk.ledger import Row
from steer.disk.remembered import digest
from steer.edits import Intervention
from steer.errors import SteerError
from steer.evals.lm_eval.harness import load, prepare, quiet, samples
from steer.evals.lm_eval.model import Batch, SteerLM
from steer.evals.lm_eval.tally import EditTally, Tally
from steer.jobs.job import Opened
from steer.model import Model


@dataclass(frozen=True)
class Scored:
    """A task under one edit ("" for none): every document with its answers, and the receipt."""

    task: str
    run: str
    samples: Mapping[str, Sequence[Mapping[str, Any]]]
    tally: Tally


@dataclass(frozen=True, eq=False)
class Answers:
    """Tasks, each without edits and under each of them: a row a batch.

    runs: name -> interventions that act together.
    """

    manager: TaskManager
    tasks: tuple[str, ...]
    runs: Mapping[str, Sequence[Intervention]]
    dictionaries: tuple[Dictionary, ...]
    options: Mapping[str, Any]
    num_fewshot: int | None
    batch_size: int
    seed: int
    stage: str = "answers"
    doing: str = "evaluating"
    part: str = "task"
    most_units: int = sys.maxsize

    @property
    def parts(self) -> int:
        return len(self.tasks)

    def open(self, model: Model, part: int) -> Opened:
        batches = self._batches(model, part)
        return Opened(len(batches), lambda unit: [self._row(part, *batches[unit])])

    def models(self, model: Model) -> dict[str, SteerLM]:
        """By the names of runs. Raises as `Model.plans` does."""
        silent: dict[str, Any] = {"if_silent": "ignore", "progress": False}
        size = self.batch_size
        with quiet():
            return {
                name: SteerLM(model, edits, self.dictionaries, batch_size=size, **silent)
                for name, edits in self.runs.items()
            }

    def scored(self, model: Model, rows: Iterable[Row]) -> Iterator[Scored]:
        """Each task under each edit, from the rows of all batches in their order.

        Raises `SteerError` for rows of other documents.
        """
        by_task = {task: list(own) for task, own in groupby(rows, key=lambda row: row["task"])}
        models = self.models(model)
        for task in self.tasks:
            left = iter(by_task[task])
            for name, lm, loaded in self._loaded(models, task):
                lm.answer = partial(self._said, lm, left)
                yield Scored(task, name, samples(lm, loaded, self.options), lm.tally)

    def _loaded(
        self, models: Mapping[str, SteerLM], task: str
    ) -> Iterator[tuple[str, SteerLM, Any]]:
        """The task ready for each run."""
        loaded = load(self.manager, task)
        for name, lm in models.items():
            lm.tally = Tally.of(lm.interventions)
            prepare(loaded["tasks"].values(), self.num_fewshot, self.seed)
            yield name, lm, loaded

    def _batches(self, model: Model, part: int) -> list[tuple[SteerLM, int, Batch]]:
        """Of all runs of a task: the model, the batch and its number in the run."""
        batches = []
        for _, lm, loaded in self._loaded(self.models(model), self.tasks[part]):
            own: list[Batch] = []
            lm.answer = partial(_noted, own)
            samples(lm, loaded, self.options)
            batches += [(lm, number, batch) for number, batch in enumerate(own)]
        return batches

    def _row(self, part: int, lm: SteerLM, number: int, batch: Batch) -> Row:
        lm.tally = Tally.of(lm.interventions)
        torch.manual_seed(self.seed + number)  # the same noise with and without an edit
        answers = batch.run()
        return {
            "task": self.tasks[part],
            "texts": digest(batch.texts),
            "answers": answers,
            "receipt": [asdict(entry) for entry in lm.tally.entries],
        }

    def _said(self, lm: SteerLM, left: Iterator[Row], batch: Batch) -> list[Any]:
        """What the next row has, which must be of this batch."""
        row = next(left, None)
        if row is None or row["texts"] != digest(batch.texts):
            raise SteerError(
                "the file has answers to other documents than the tasks have now, or of another "
                "tokenizer: give another file"
            )
        receipt = tuple(EditTally(**entry) for entry in row["receipt"])
        lm.tally = lm.tally.merged(Tally(receipt))
        answers: list[Any] = row["answers"]
        return answers


def _noted(batches: list[Batch], batch: Batch) -> list[Any]:
    batches.append(batch)
    return batch.blank
