"""However an evaluation is split and joined, its file and its scores are the same."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

import steer
from dictionaries.dictionary import Dictionary
from steer.disk.merge import merge
from steer.evals.lm_eval.compare import Evaluation, evaluate

WRITES = """
task: writes
output_type: generate_until
dataset_path: json
dataset_kwargs: {{data_files: {{test: {data}}}}}
test_split: test
doc_to_text: text
doc_to_target: answer
generation_kwargs: {{max_gen_toks: 4, do_sample: true, temperature: 1.0, until: ["train"]}}
metric_list: [{{metric: exact_match}}]
"""


@pytest.fixture
def writes(tmp_path: Path) -> str:
    """A task whose answers are written and drawn: its file."""
    names = ("king", "boy", "girl", "map")
    lines = [f'{{"text": "the {name}", "answer": "queen"}}' for name in names]
    documents, task = tmp_path / "writes.jsonl", tmp_path / "writes.yaml"
    documents.write_text("\n".join(lines))
    task.write_text(WRITES.format(data=documents))
    return str(task)


def test_shards_merged_in_any_order_are_the_whole(
    words: steer.Model, sae: Dictionary, writes: str, tmp_path: Path
) -> None:
    edits = {"clamp": [steer.Intervention("tiny", [steer.Clamp(5, 40.0)])]}

    def run(file: Path | None, **options: Any) -> Evaluation:
        given: dict[str, Any] = {"dictionaries": (sae,), "limit": 5, "num_fewshot": 1}
        tasks = ["gender", writes]
        return evaluate(words, tasks, edits, batch_size=3, file=file, **given, **options)

    whole = run(tmp_path / "whole")
    assert whole.to_dict() == run(None).to_dict()
    files = [tmp_path / f"{number}" for number in (1, 2, 3)]
    for number, file in enumerate(files, 1):
        part = run(file, shard=f"{number}/3")
        assert not part.baseline
        assert repr(part).startswith(f"shard {number}/3 of an Evaluation")
    random.Random(0).shuffle(files)
    merge(files, tmp_path / "merged")
    assert (tmp_path / "merged").read_bytes() == (tmp_path / "whole").read_bytes()
    assert run(tmp_path / "merged").to_dict() == whole.to_dict()


def test_answers_to_other_documents_are_not_taken(
    words: steer.Model, writes: str, tmp_path: Path
) -> None:
    """A task's file may have been changed since."""
    file = tmp_path / "rows"
    evaluate(words, [writes], file=file)
    documents = tmp_path / "writes.jsonl"
    documents.write_text(documents.read_text().replace("boy", "actor"))
    with pytest.raises(steer.SteerError, match="answers to other documents"):
        evaluate(words, [writes], file=file)
