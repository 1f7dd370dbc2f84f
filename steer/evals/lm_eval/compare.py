"""Tasks of lm-eval for a model with and without edits, compared document by document."""

from __future__ import annotations

import contextlib
import io
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import lm_eval
import torch
from lm_eval.tasks import TaskManager
from torch import Tensor

from dictionaries.dictionary import Dictionary
from steer.edits import Intervention
from steer.errors import SteerError
from steer.evals.lm_eval.model import SteerLM
from steer.evals.lm_eval.paired import Difference, Score, compare
from steer.evals.lm_eval.tally import Tally
from steer.maths.statistics import benjamini_hochberg
from steer.model import Model
from steer.progress import Progress

TASKS = Path(__file__).parent / "tasks"
"""The local tasks; for lm-eval's own command line, `--include_path`."""

Values = dict[tuple[str, str], Tensor]
"""(task, metric) -> one value a document, [n]."""


@dataclass(frozen=True, repr=False)
class Evaluation:
    """Scores of the baseline, differences that the edits make, and what the edits did.

    baseline: (task, metric) -> score; differences: for each edit, task and metric.
    tallies: (edit, task as it was asked for) -> receipt.
    settings: what is needed to repeat it.
    """

    baseline: Mapping[tuple[str, str], Score]
    differences: tuple[Difference, ...]
    tallies: Mapping[tuple[str, str], Tally]
    settings: Mapping[str, Any]

    def __repr__(self) -> str:
        head = f"Evaluation of {self.settings['model']}, {self.settings['dtype']}"
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

    Raises `SteerError` for an unknown task, or one whose data can't be had.
    """
    runs = {"": (), **{name: tuple(sequence) for name, sequence in (edits or {}).items()}}
    fewshot = {"fewshot_as_multiturn": fewshot_as_multiturn}
    options = {"apply_chat_template": apply_chat_template, "limit": limit, **fewshot}
    values: dict[str, Values] = {name: {} for name in runs}
    tallies: dict[tuple[str, str], Tally] = {}
    tasks, folders = _from_files(tasks, include_path)
    with _quiet():
        manager = _manager(tasks, folders)
        # All of them before any runs: a bad edit is found at once.
        models = {
            name: SteerLM(
                model,
                interventions,
                dictionaries,
                if_silent="ignore",
                progress=False,
                batch_size=batch_size,
            )
            for name, interventions in runs.items()
        }
        for place, task in enumerate(tasks):
            loaded = _load(manager, task)
            for number, (name, lm) in enumerate(models.items()):
                if progress:
                    progress("evaluating", place * len(runs) + number, len(tasks) * len(runs))
                lm.tally = Tally.of(lm.interventions)
                _prepare(loaded["tasks"].values(), num_fewshot, seed)
                values[name] |= _values(_run(lm, loaded, options))
                if name:
                    tallies[name, task] = lm.tally
    baseline = {key: Score.of(numbers) for key, numbers in values[""].items()}
    return Evaluation(
        baseline=baseline,
        differences=_differences(values),
        tallies=tallies,
        settings={
            "model": model.name,
            "fingerprint": model.fingerprint,
            "dtype": model.dtype,
            "tasks": list(tasks),
            "edits": {n: [edit.to_dict() for edit in found] for n, found in runs.items() if n},
            "num_fewshot": num_fewshot,
            "batch_size": batch_size,
            "seed": seed,
            "lm_eval": lm_eval.__version__,
            **options,
        },
    )


def _from_files(
    tasks: Sequence[str], include_path: str | Path | None
) -> tuple[list[str], list[str]]:
    """The tasks by name, those given as YAML files too, and the folders that they are in."""
    if include_path is not None and not Path(include_path).is_dir():
        raise SteerError(f"--include-path {include_path} is no folder; give one with tasks")
    names, folders = [], [str(folder) for folder in (TASKS, include_path) if folder]
    for task in tasks:
        path = Path(task)
        if path.suffix not in (".yaml", ".yml"):
            names.append(task)
            continue
        if not path.is_file():
            raise SteerError(
                f"there is no task file {task}; give its path, or its name with --include-path"
            )
        said = re.search(r"^task: *[\"']?([\w.-]+)", path.read_text("utf-8"), re.MULTILINE)
        if said is None:
            raise SteerError(f"{task} does not say what its task is called: a line `task: NAME`")
        names.append(said[1])
        folders.append(str(path.parent.absolute()))
    return names, list(dict.fromkeys(folders))


def _manager(tasks: Sequence[str], paths: Sequence[str]) -> TaskManager:
    """The local tasks alone, if they are enough: reading the names of all others takes seconds."""
    if not tasks:
        raise SteerError(f"no task was given; local ones: {', '.join(local_tasks())}")
    manager = TaskManager(include_path=list(paths), include_defaults=False)
    if not set(tasks) <= set(manager.all_tasks):
        manager = TaskManager(include_path=list(paths))
    if unknown := [task for task in tasks if task not in manager.all_tasks]:
        raise SteerError(
            f"task {', '.join(unknown)} is unknown; local ones: {', '.join(local_tasks())}; "
            "`steer lm-eval ls tasks` lists those of lm-eval; for one of your own give its file, "
            "my.yaml, or its name and --include-path FOLDER"
        )
    return manager


def _load(manager: TaskManager, task: str) -> Any:
    try:
        return manager.load([task])
    except Exception as error:  # a data set that can't be fetched raises anything at all
        first_line = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise SteerError(
            f"task {task} can't be loaded: {first_line} (most of lm-eval's tasks need the model "
            f"hub; local ones: {', '.join(local_tasks())})"
        ) from error


def local_tasks() -> list[str]:
    """Names of the tasks that need no hub."""
    return sorted(path.stem for path in TASKS.glob("*.yaml"))


def _prepare(tasks: Any, num_fewshot: int | None, seed: int) -> None:
    """The same few-shot examples and the same noise in every run."""
    torch.manual_seed(seed)
    for task in tasks:
        own = task.get_config("num_fewshot")
        if own is None or (num_fewshot is not None and own != 0):
            task.set_config(key="num_fewshot", value=num_fewshot or 0)
        task.set_fewshot_seed(seed=seed)


def _run(lm: SteerLM, loaded: Any, options: Mapping[str, Any]) -> Any:
    """Every document with its answers, by task. Some of lm-eval's bars can't be turned off."""
    with contextlib.redirect_stderr(io.StringIO()):
        return lm_eval.evaluate(lm, loaded, bootstrap_iters=0, **options)["samples"]


def _values(samples: Mapping[str, Sequence[Mapping[str, Any]]]) -> Values:
    """Per-document values of every metric that is a number for a single document."""
    by_metric: dict[tuple[str, str], list[float]] = {}
    for task, documents in samples.items():
        for document in sorted(documents, key=lambda each: each["doc_id"]):
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


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """lm-eval tells of every step in its log."""
    logger = logging.getLogger("lm_eval")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
