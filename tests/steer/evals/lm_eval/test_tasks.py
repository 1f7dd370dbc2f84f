"""The local tasks: their documents are what the script writes, and are balanced."""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import Any

import lm_eval
import pytest
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager

from steer.evals.lm_eval.compare import TASKS, local_tasks
from steer.evals.lm_eval.tasks import make as script
from steer.evals.lm_eval.tasks.documents import FEWSHOT
from tests.steer.evals.lm_eval.conftest import Make

every_task = pytest.mark.parametrize("task", ["agreement", "gender", "ioi", "sentiment"])


def documents(task: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (TASKS / f"{task}.jsonl").read_text().splitlines()]


def test_the_tasks() -> None:
    assert local_tasks() == ["agreement", "gender", "ioi", "sentiment"]


@every_task
def test_the_documents_are_those_of_the_seeded_script(task: str) -> None:
    assert (TASKS / f"{task}.jsonl").read_text() == script.lines(task)


@every_task
def test_documents_are_distinct_and_balanced(task: str) -> None:
    tested = documents(task)[FEWSHOT:]
    assert len(tested) == 200
    assert len({each["text"] for each in tested}) == 200
    assert all(len(set(each["choices"])) == 2 for each in tested)
    assert Counter(each["answer"] for each in tested) == {0: 100, 1: 100}
    conditions = Counter((each["condition"], each["answer"]) for each in tested)
    assert max(conditions.values()) - min(conditions.values()) <= 2


def test_the_indirect_object_is_who_is_named_once() -> None:
    for document in documents("ioi"):
        words = re.findall(r"\w+", document["text"])
        times = [words.count(name) for name in document["choices"]]
        assert times[document["answer"]] == 1
        assert times[1 - document["answer"]] == 2


@every_task
def test_lm_eval_s_own_model_type_runs_them(task: str, hf: HFLM) -> None:
    loaded = TaskManager(include_path=TASKS, include_defaults=False).load([task])
    results = lm_eval.evaluate(hf, loaded, limit=6, bootstrap_iters=0)
    assert results["n-samples"][task]["effective"] == 6
    assert 0 <= results["results"][task]["acc,none"] <= 1


@pytest.mark.parametrize("multiturn", [True, False])
def test_few_shot_chats_score_as_hf_scores_them(multiturn: bool, hf: HFLM, make: Make) -> None:
    template = (
        "{% for m in messages %}{{ m['role'] }} w7 {{ m['content'] }} w8 {% endfor %}"
        "{% if add_generation_prompt %}w9 {% endif %}"
    )
    found = []
    for lm in (hf, make()):
        lm.tokenizer.chat_template = template
        loaded = TaskManager(include_path=TASKS, include_defaults=False).load(["gender"])
        task = loaded["tasks"]["gender"]
        task.set_config(key="num_fewshot", value=2)
        task.set_fewshot_seed(seed=0)
        options: dict[str, Any] = {"limit": 5, "bootstrap_iters": 0, "apply_chat_template": True}
        results = lm_eval.evaluate(lm, loaded, fewshot_as_multiturn=multiturn, **options)
        found.append([(d["arguments"], d["resps"]) for d in results["samples"]["gender"]])
        lm.tokenizer.chat_template = None
    assert found[0] == found[1]
    assert found[0][0][0][0][0].count("user w7") == (3 if multiturn else 1)
