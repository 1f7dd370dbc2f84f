"""lm-eval's `local-completions` against the server, beside `--model steer` in process."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from apps.server.bench.rows import Row, add, read
from apps.server.bench.started import MODEL, Target
from steer.edits import Intervention
from steer.model import Model

_QUIET = ("lm_eval", "httpx", "urllib3")


def scores(
    target: Target,
    model: Model,
    edits: Path,
    limit: int,
    results: Path,
    tasks: tuple[str, ...] = (),
) -> list[Row]:
    """For the model and each of its named edits: largest difference of a log-likelihood, and
    whether all scores are the same.

    edits: the folder that the server was given.
    results: JSON lines; what is there is not measured again.
    """
    named: dict[str, tuple[Intervention, ...]] = {"none": ()}
    for file in sorted(edits.glob("*.json")):
        named[file.stem] = (Intervention.load(file),)
    there = {(row["edit"], row["task"]) for row in read(results)}
    for name, acting in named.items():
        for task in tasks or ("agreement", "gender", "ioi", "sentiment"):
            if (name, task) not in there:
                add(results, _compared(target, model, name, acting, task, limit))
    return read(results)


def _compared(
    target: Target,
    model: Model,
    name: str,
    acting: tuple[Intervention, ...],
    task: str,
    limit: int,
) -> Row:
    from steer.evals.lm_eval.model import SteerLM

    asked = f"{MODEL}@{name}" if acting else MODEL
    here = _evaluated(SteerLM(model, acting, progress=False, batch_size=1), None, task, limit)
    arguments = {"model": asked, "base_url": f"{target.url}/v1/completions", "num_concurrent": 8}
    there = _evaluated("local-completions", arguments, task, limit)
    mine, theirs = _answers(here, task), _answers(there, task)
    return {
        "edit": name,
        "task": task,
        "documents": len(here["samples"][task]),
        "log-likelihoods": len(mine),
        "largest difference": max(abs(mine[key] - theirs[key]) for key in mine),
        "same scores": here["results"][task] == there["results"][task],
        "acc": here["results"][task].get("acc,none"),
    }


def _evaluated(lm: Any, arguments: Mapping[str, Any] | None, task: str, limit: int) -> Any:
    import lm_eval
    from lm_eval.tasks import TaskManager

    from steer.evals.lm_eval.compare import TASKS

    os.environ.setdefault("OPENAI_API_KEY", "none")
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.ERROR)
    manager = TaskManager(include_path=str(TASKS), include_defaults=False)
    with contextlib.redirect_stderr(io.StringIO()):
        return lm_eval.simple_evaluate(
            model=lm,
            model_args=dict(arguments) if arguments else None,
            tasks=[task],
            limit=limit,
            log_samples=True,
            bootstrap_iters=0,
            task_manager=manager,
        )


def _answers(results: Any, task: str) -> dict[str, float]:
    """(document, choice) -> log-likelihood."""
    answers = {}
    for sample in results["samples"][task]:
        for choice, (loglikelihood, _) in enumerate(sample["filtered_resps"]):
            answers[json.dumps([sample["doc_id"], choice])] = float(loglikelihood)
    return answers
