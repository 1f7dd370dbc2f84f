"""Find shows a feature's label where there is one, and finds it by its words."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from apps.playground.find.view import card_view
from apps.playground.studio.index import Index
from dictionaries import catalogue
from dictionaries.beside import by_hand
from dictionaries.beside.labels import Label, Labels
from dictionaries.beside.stability import Stability
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
    hits = index.search(query).hits
    assert [hit.feature for hit in hits if hit.why == "its label"] == found
    assert [hit.feature for hit in hits][: len(found)] == found


def test_a_card_says_whether_the_feature_comes_back(index: Index, tmp_path: Path) -> None:
    assert "with another seed" not in card_view(index.card(7))
    chance = torch.full((tiny.WIDTH,), 0.9)
    chance[8] = 0.2
    others = torch.zeros(tiny.WIDTH, 3, dtype=torch.long) + 11
    Stability(chance, chance, chance, others, seeds=4, samples=1000).save(tmp_path)
    assert "comes back with another seed: chance 90%" in card_view(index.card(7))
    assert "does not come back with another seed: chance 20%" in card_view(index.card(8))
    told = index.card(8).to_dict()["stability"]
    assert told["chance"] == pytest.approx(0.2, abs=0.01)
    assert told["beside"] == (11, 11, 11)


def test_a_name_by_hand_comes_first_and_says_so(index: Index) -> None:
    by_hand.name(index.dictionary.place, 8, "bridges", "writes")  # type: ignore[arg-type]
    assert index.label(8) == "writes bridges (by hand)"
    first, *_ = index.search("bridges").hits
    assert (first.feature, first.why) == (8, "its name")
    assert first.sides.writes == "bridges (by hand)"


def test_nobody_waits_for_a_model_at_work(index: Index) -> None:
    model = tiny.tiny_model("llama")
    reading = Index(index.dictionary, model.token, model)
    assert index.measure_if_free("w7") is None  # it has no model
    begun, done = threading.Event(), threading.Event()

    def work() -> None:
        with model.lock:
            begun.set()
            done.wait(60)

    worker = threading.Thread(target=work)
    worker.start()
    begun.wait(60)
    try:
        assert reading.measure_if_free("w7") is None
    finally:
        done.set()
        worker.join()
    read = reading.measure_if_free("w7")
    assert read is not None
    assert read.measured


def test_neighbours_are_named(index: Index) -> None:
    assert len(index.neighbours(7)) == 8
    assert all(neighbour.label for neighbour in index.neighbours(7))
