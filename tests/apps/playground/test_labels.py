"""Find shows a feature's label where there is one, and finds it by its words."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from apps.playground.studio.index import Index
from dictionaries import catalogue
from dictionaries.beside.labels import Label, Labels
from tests.support import tiny


@pytest.fixture
def index(tmp_path: Path) -> Index:
    catalogue.save(tiny.dictionary(), tmp_path)
    Labels([Label(7, "old bridges", "me"), Label(9, "the Golden Gate Bridge", "me")]).save(tmp_path)
    loaded = replace(catalogue.load(tmp_path), statistics=tiny.statistics(tiny.WIDTH))
    return Index(loaded, tiny.tiny_model("llama").token)


def test_a_label_stands_for_the_feature(index: Index) -> None:
    assert index.label(7) == index.card(7).label == "old bridges"
    assert "→" in index.label(8)


@pytest.mark.parametrize(
    ("query", "found"), [("bridge", [9, 7]), ("Golden bridge", [9]), ("bridges", [7]), ("?", [])]
)
def test_labels_are_found_by_their_words(query: str, found: list[int], index: Index) -> None:
    hits = [hit for hit in index.search(query) if hit.why == "its label"]
    assert [hit.feature for hit in hits] == found
    assert [hit.feature for hit in index.search(query)][: len(found)] == found


def test_neighbours_are_named(index: Index) -> None:
    assert len(index.neighbours(7)) == 8
    assert all(each.label for each in index.neighbours(7))
