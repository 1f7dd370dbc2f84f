"""Names by hand: where they are kept, and that they come before what programs say."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from dictionaries import catalogue
from dictionaries.beside import by_hand
from dictionaries.beside.labels import Label, Labels
from dictionaries.dictionary import Dictionary
from dictionaries.errors import DictionaryError

SHIPPED = catalogue.SHIPPED / "smollm2-135m" / "resid_post.20"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("STEER_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_a_folder_of_ones_own_keeps_its_names(
    make: Callable[..., Dictionary], tmp_path: Path
) -> None:
    own = tmp_path / "own"
    catalogue.save(make("standard"), own)
    Labels([Label(4, "a rule", "steer", f1=0.99), Label(5, "b", "s")]).save(own)
    label, file = by_hand.name(own, 4, "bridges")
    assert (label.by_hand, file) == (True, own / "labels.jsonl")
    loaded = catalogue.load(own).labels
    assert [each.text for each in loaded] == ["bridges", "a rule", "b"]
    assert loaded.of(4) == label


def test_a_second_name_replaces_the_first_of_its_side(tmp_path: Path) -> None:
    for side, text in (("reads", "a"), ("writes", "b"), ("reads", "c")):
        by_hand.name(tmp_path, 7, text, side)
    labels = by_hand.labels_at(tmp_path)
    assert {each.said for each in labels} == {"c (by hand)", "writes b (by hand)"}
    assert labels.of(7, "writes") == Label(7, "b", "by hand", side="writes")
    assert labels.of(7, "reads") == Label(7, "c", "by hand")


@pytest.mark.parametrize(
    "place", [SHIPPED, Path("/x/models--org--sae/snapshots/abc/layer_20"), Path("/x/a/snapshots/b")]
)
def test_published_files_stay_as_they_are(place: Path, cache: Path) -> None:
    mine = "models--" not in str(place) and place != SHIPPED
    where = by_hand.place_of_names(place)
    assert where == place if mine else where.is_relative_to(cache / "labels")


def test_a_name_for_a_shipped_dictionary_is_the_users(cache: Path) -> None:
    before = (SHIPPED / "labels.jsonl").read_bytes()
    _, file = by_hand.name(SHIPPED, 1176, "-er forms", "writes")
    assert file.is_relative_to(cache)
    assert (SHIPPED / "labels.jsonl").read_bytes() == before
    labels = catalogue.labels("smollm2-135m/resid_post.20")
    assert labels.of(1176) == Label(1176, "-er forms", "by hand", side="writes")
    assert len(labels) == len(Labels.load(SHIPPED)) + 1


def test_what_is_no_name(tmp_path: Path) -> None:
    with pytest.raises(DictionaryError, match="side is reads or writes, not 'both'"):
        by_hand.name(tmp_path, 1, "a", "both")
    with pytest.raises(DictionaryError, match="empty label"):
        by_hand.name(tmp_path, 1, " ")
