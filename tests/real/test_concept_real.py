"""One concept on the default model, from the word to the verdict."""

from __future__ import annotations

from pathlib import Path

import pytest

import steer
from steer.concepts import embedded
from steer.evals.steering.embeddings import available

pytestmark = pytest.mark.skipif(not available(), reason="needs sae-steer[evals]")


def test_surgery_is_found_and_the_second_time_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = steer.load(dtype="bfloat16")
    monkeypatch.setenv("STEER_CACHE", str(tmp_path))
    monkeypatch.setattr(embedded, "VOCABULARY", 800)  # the rest takes as long as all else
    told: list[str] = []
    concept = steer.concept(model, "surgery", progress=lambda what, *_: told.append(what))
    assert concept.verdict in ("works", "weak")
    assert concept.on_topic.mean >= 0.4 > 0.1 >= concept.on_topic_baseline.mean
    assert concept.on_topic.low > 0
    assert concept.intervention is not None
    assert not set(concept.examples["fit"]) & set(concept.examples["held_out"])
    random = next(control for control in concept.controls if control.name == "random features")
    assert random.on_topic.mean < concept.on_topic.low
    assert told
    files = {path: path.read_bytes() for path in (tmp_path / "concepts").iterdir()}
    told.clear()
    again = steer.concept(model, "surgery", progress=lambda what, *_: told.append(what))
    assert again.to_dict() == concept.to_dict()
    assert not told
    assert files == {path: path.read_bytes() for path in (tmp_path / "concepts").iterdir()}
