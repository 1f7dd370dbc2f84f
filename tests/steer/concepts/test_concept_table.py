"""Many words, however they are split, are one table."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import steer
from steer.concepts import concept as module
from steer.concepts.result import Concept, ConceptTable, nothing
from steer.disk.merge import merge
from tests.support import tiny
from tests.support.concepts import tiny_concept

WORDS = ["w5", "w6 w7", "w8", "w9"]


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch) -> Any:
    """With a search that answers at once: `w8` has no edit."""

    def search(model: steer.Model, word: str, *, dictionary: Any, **settings: Any) -> Concept:
        if word != "w8":
            return tiny_concept(word=word)
        answer = tiny_concept(word=word, verdict="none here", on_topic=nothing())
        return replace(answer, intervention=None, dose=math.nan)

    monkeypatch.setattr(module, "concept", search)
    model, dictionary = tiny.tiny_model("llama"), tiny.dictionary()

    def run(file: Path | None = None, shard: str | None = None) -> ConceptTable:
        return module.concept_table(model, WORDS, dictionary=dictionary, file=file, shard=shard)

    return run


def test_three_shards_are_the_whole(table: Any, tmp_path: Path) -> None:
    whole = table(tmp_path / "whole")
    files = [tmp_path / number for number in "312"]
    for file in files:
        part = table(file, f"{file.name}/3")
        assert len(part.concepts) < len(WORDS)
        assert repr(part).startswith(f"shard {file.name}/3 of a ConceptTable")
    merge(files, tmp_path / "merged")
    assert (tmp_path / "merged").read_bytes() == (tmp_path / "whole").read_bytes()
    assert table(tmp_path / "merged").to_dict() == whole.to_dict() == table().to_dict()


def test_a_row_a_word(table: Any) -> None:
    several = table()
    assert list(several.frame["word"]) == WORDS
    assert list(several.frame["verdict"]) == ["works", "works", "none here", "works"]
    assert "4 words: 3 works, 0 weak, 1 none here" in repr(several)
    assert several.frame["dose"].isna().tolist() == [False, False, True, False]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "a list of words"),
        ("ocean", "a list of words"),
        (["w5", "w6", "w5"], "w5 is there twice"),
        (["w5", " "], "a word or a short phrase"),
    ],
)
def test_words_that_are_no_table(words: Any, said: str) -> None:
    with pytest.raises(steer.SteerError, match=said):
        module.concept_table(tiny.tiny_model("llama"), words, dictionary=tiny.dictionary())
