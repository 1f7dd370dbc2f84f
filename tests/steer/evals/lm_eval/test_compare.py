"""Baseline and edits on the same documents, and the paired tests."""

from __future__ import annotations

import math
from itertools import product
from pathlib import Path

import pytest
import torch

import steer
from dictionaries.dictionary import Dictionary
from steer.evals.lm_eval.compare import _margin, _metrics, evaluate
from steer.evals.lm_eval.paired import Score, compare, mcnemar
from steer.maths.statistics import sign_flip


@pytest.mark.parametrize(("gained", "lost"), [*product(range(5), range(5))])
def test_mcnemar_is_the_sign_flip_test_of_all_flips(gained: int, lost: int) -> None:
    change = torch.tensor([1.0] * gained + [-1.0] * lost + [0.0] * 2)
    assert mcnemar(gained, lost) == pytest.approx(sign_flip(change).item())


def test_a_paired_difference() -> None:
    before = torch.tensor([1.0, 0, 1, 1, 0, 0])
    after = torch.tensor([1.0, 1, 1, 1, 1, 0])
    difference = compare("t", "acc", "e", before, after)
    assert (difference.gained, difference.lost, difference.test) == (2, 0, "mcnemar")
    assert difference.p == 0.5
    assert difference.difference == pytest.approx(1 / 3)
    assert difference.stderr == pytest.approx((after - before).std().item() / math.sqrt(6))
    assert difference.low <= difference.difference <= difference.high
    assert difference.baseline == Score.of(before.double())
    assert difference.baseline.stderr == pytest.approx(before.std().item() / math.sqrt(6))


def test_values_that_are_no_answers_are_flipped() -> None:
    before = torch.arange(12.0)
    difference = compare("t", "margin", "e", before, before + 0.5)
    assert difference.test == "sign flip"
    assert difference.p < 0.01
    assert compare("t", "margin", "e", before, before).p == 1


def test_the_margin_is_to_the_best_wrong_choice() -> None:
    document = {
        "target": 1,
        "filtered_resps": [(-3.0, False), (-2.0, True), (-2.5, False)],
        "metrics": ["acc"],
        "acc": 1.0,
        "filter": "none",
    }
    assert _margin(document) == 0.5
    assert dict(_metrics(document)) == {"acc": 1.0, "margin": 0.5}
    assert _margin({**document, "target": "b"}) is None


def test_what_lm_eval_aggregates_is_not_given_its_name() -> None:
    rolling = {"word_perplexity": (-9.0, 4), "bits_per_byte": (-9.0, 20)}
    document = {"target": "", "filtered_resps": [-9.0], "filter": "none", **rolling}
    assert dict(_metrics({**document, "metrics": list(rolling)})) == {"loglikelihood": -9.0}


# -- whole evaluations -----------------------------------------------------------------------------


def test_edits_are_compared_with_the_baseline(words: steer.Model, sae: Dictionary) -> None:
    edits = {
        "clamp": [steer.Intervention("tiny", [steer.Clamp(5, 40.0), steer.Add(7, 20.0)])],
        "nothing": [steer.Intervention("tiny", [steer.Scale(5, 1.0)])],
        "direction": [steer.Intervention("resid_post.0", [steer.ProjectOut(steer.Random(3))])],
    }
    evaluation = evaluate(words, ["gender"], edits, dictionaries=(sae,), limit=12, batch_size=5)
    by_name = {
        (difference.edit, difference.metric): difference for difference in evaluation.differences
    }
    assert {metric for _, metric in by_name} == {"acc", "margin"}
    for metric in ("acc", "margin"):
        nothing = by_name["nothing", metric]
        assert (nothing.difference, nothing.p, nothing.gained) == (0, 1, 0)
        assert nothing.baseline == evaluation.baseline["gender", metric]
        assert nothing.q >= nothing.p
    clamp = by_name["clamp", "margin"]
    assert clamp.gained + clamp.lost == 12
    assert [each.split(":")[0] for each in evaluation.silent] == ["gender"]
    assert "scale 5 of tiny did nothing" in evaluation.silent[0]
    receipt = evaluation.tallies["clamp", "gender"].entries[0]
    assert (receipt.requests, receipt.acted_requests) == (24, 24)
    again = evaluate(words, ["gender"], edits, dictionaries=(sae,), limit=12, batch_size=5)
    assert again.to_dict() == evaluation.to_dict()


def test_without_edits_the_baseline_is_scored(words: steer.Model) -> None:
    evaluation = evaluate(words, ["ioi"], limit=4)
    assert {key[1]: score.n for key, score in evaluation.baseline.items()} == {
        "acc": 4,
        "margin": 4,
    }
    assert evaluation.differences == ()


def test_few_shot_examples_are_the_same_in_every_run(words: steer.Model) -> None:
    edits = {
        "nothing": [steer.Intervention("resid_post.0", [steer.AddDirection(steer.Random(1), 0)])]
    }
    evaluation = evaluate(words, ["gender"], edits, limit=5, num_fewshot=2)
    assert all(difference.difference == 0 for difference in evaluation.differences)
    assert evaluation.baseline != evaluate(words, ["gender"], limit=5).baseline


@pytest.mark.parametrize(
    ("tasks", "message"), [(["iou"], "task iou is unknown; local ones: agree"), ([], "no task")]
)
def test_unknown_tasks(tasks: list[str], message: str, llama: steer.Model) -> None:
    with pytest.raises(steer.SteerError, match=message):
        evaluate(llama, tasks)


BROKEN = """
task: broken
output_type: multiple_choice
dataset_path: json
dataset_kwargs: {data_files: {test: nowhere.jsonl}}
test_split: test
doc_to_text: text
doc_to_choice: choices
doc_to_target: answer
"""


def test_a_task_whose_data_is_not_there(words: steer.Model, tmp_path: Path) -> None:
    (tmp_path / "broken.yaml").write_text(BROKEN)
    with pytest.raises(steer.SteerError, match=r"task broken can't be loaded: .*nowhere"):
        evaluate(words, ["broken"], include_path=tmp_path)


def test_a_bad_edit_is_found_before_anything_runs(words: steer.Model, sae: Dictionary) -> None:
    edits = {"bad": [steer.Intervention("tiny", [steer.Ablate(48)])]}
    with pytest.raises(steer.DictionaryError, match="48"):
        evaluate(words, ["gender"], edits, dictionaries=(sae,))
