"""lm-eval on the default model: the model type `steer` scores as `hf` does, and an edit is felt."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import pytest

import steer
from steer.lm import default_model

pytestmark = pytest.mark.skipif(find_spec("lm_eval") is None, reason="lm-eval is not installed")

ABLATED = steer.Intervention(
    "smollm2-135m/resid_post.20", [steer.Clamp(1176, "2x max"), steer.Ablate(5520)]
)


def responses(lm: Any) -> list[Any]:
    import lm_eval
    from lm_eval.tasks import TaskManager

    from steer.evals.lm_eval.compare import TASKS

    loaded = TaskManager(include_path=TASKS, include_defaults=False).load(["gender"])
    results = lm_eval.evaluate(lm, loaded, limit=6, bootstrap_iters=0)
    return [document["resps"] for document in results["samples"]["gender"]]


def test_scores_are_those_of_hf_to_the_last_bit() -> None:
    from lm_eval.models.huggingface import HFLM

    from steer.evals.lm_eval.model import SteerLM

    options: dict[str, Any] = {"batch_size": 4, "device": "cpu"}
    ours = SteerLM("smollm2-135m", **options)
    expected = responses(HFLM(str(default_model.fetch()), **options))
    assert responses(ours) == expected
    edited = SteerLM(ours.edited, ABLATED, if_silent="ignore", batch_size=4)
    assert responses(edited) != expected
    assert edited.tally.entries[0].acted_requests == 12
