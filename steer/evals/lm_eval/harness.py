"""lm-eval's own machinery, called quietly: its tasks, their documents, their answers."""

from __future__ import annotations

import contextlib
import io
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import lm_eval
import torch
from lm_eval.tasks import TaskManager

from steer.errors import SteerError
from steer.evals.lm_eval.model import SteerLM

TASKS = Path(__file__).parent / "tasks"
"""The local tasks; for lm-eval's own command line, `--include_path`."""


def from_files(
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


def manager_of(tasks: Sequence[str], paths: Sequence[str]) -> TaskManager:
    """The local tasks alone, if they are enough: reading the names of all others takes seconds."""
    if not tasks:
        raise SteerError(f"no task was given; local ones: {', '.join(local_tasks())}")
    with quiet():
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


def load(manager: TaskManager, task: str) -> Any:
    try:
        with quiet():
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


def prepare(tasks: Any, num_fewshot: int | None, seed: int) -> None:
    """The same few-shot examples and the same noise in every run."""
    torch.manual_seed(seed)
    for task in tasks:
        own = task.get_config("num_fewshot")
        if own is None or (num_fewshot is not None and own != 0):
            task.set_config(key="num_fewshot", value=num_fewshot or 0)
        task.set_fewshot_seed(seed=seed)


def samples(lm: SteerLM, loaded: Any, options: Mapping[str, Any]) -> Any:
    """Every document with its answers, by task. Some of lm-eval's bars can't be turned off."""
    with quiet(), contextlib.redirect_stderr(io.StringIO()):
        return lm_eval.evaluate(lm, loaded, bootstrap_iters=0, **options)["samples"]


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """lm-eval tells of every step in its log."""
    logger = logging.getLogger("lm_eval")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
