"""Labels: what is kept of them, how they are found, and what is refused."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dictionaries import catalogue
from dictionaries.beside.labels import Label, Labels
from dictionaries.dictionary import Dictionary
from dictionaries.errors import DictionaryError, FormatError
from dictionaries.label_imports import read_labels

RECORDS = [
    {
        "id": "a1",
        "modelId": "gemma-2-2b",
        "layer": "20-gemmascope-res-16k",
        "index": index,
        "description": text,
        "typeName": "oai_token-act-pair",
        "explanationModelName": "gpt-4o-mini",
        "embedding": "[0.1,0.2]",
    }
    for index, text in (("7", " references to\nbridges"), ("3", "bridge names"), ("5", ""))
]
ORIGIN = "gemma-2-2b/20-gemmascope-res-16k"
FROM = f"neuronpedia {ORIGIN}"
METHOD = "oai_token-act-pair gpt-4o-mini"
LINES = "".join(json.dumps(record) + "\n" for record in RECORDS)
ROWS = "feature,label,source,f1\n7,references to bridges,me,0.5\n3,bridge names,,\n5,,,\n"


def written(path: Path, data: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(data.encode()) if path.suffix == ".gz" else data.encode())
    return path


@pytest.mark.parametrize(
    ("file", "data"),
    [
        ("a.json", json.dumps(RECORDS, indent=1)),
        ("a.json", json.dumps({"explanations": RECORDS, "explanationsCount": 3})),
        ("a.jsonl", LINES),
        ("batch-0.jsonl.gz", LINES),
    ],
)
def test_exports_of_neuronpedia(file: str, data: str, tmp_path: Path) -> None:
    imported = read_labels(written(tmp_path / file, data))
    assert list(imported.labels) == [
        Label(3, "bridge names", FROM, METHOD),
        Label(7, "references to bridges", FROM, METHOD),
    ]
    assert (imported.blank, imported.origins) == (1, (ORIGIN,))


def test_a_folder_of_batches(tmp_path: Path) -> None:
    for number, record in enumerate(RECORDS):
        written(tmp_path / f"batch-{number}.jsonl.gz", json.dumps(record))
    assert [label.feature for label in read_labels(tmp_path).labels] == [3, 7]


@pytest.mark.parametrize(
    "scores", [{"scores": [{"value": 0.8}]}, {"scoreV2": 0.8}, {"scoreV1": 0.8, "scoreV2": 0}]
)
def test_scores_of_neuronpedia(scores: dict[str, Any], tmp_path: Path) -> None:
    (label,) = read_labels(written(tmp_path / "a", json.dumps(RECORDS[0] | scores))).labels
    assert label.score == 0.8


def test_csv(tmp_path: Path) -> None:
    imported = read_labels(written(tmp_path / "mine.csv", ROWS))
    assert list(imported.labels) == [
        Label(3, "bridge names", "mine.csv"),
        Label(7, "references to bridges", "me", f1=0.5),
    ]
    assert imported.blank == 1


def test_several_origins_must_be_told_apart(tmp_path: Path) -> None:
    other = RECORDS[0] | {"layer": "12-gemmascope-res-16k"}
    path = written(tmp_path / "a.jsonl", LINES + json.dumps(other))
    with pytest.raises(FormatError, match=r"holds labels of .*20-.*12-.*choose one"):
        read_labels(path)
    assert read_labels(path, ORIGIN).origins == (ORIGIN,)
    with pytest.raises(FormatError, match="holds no labels of other/1"):
        read_labels(path, "other/1")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ("", "feature and label"),
        ("a,b\n1,2\n", "columns a, b; expected feature and label"),
        ("feature,label,colour\n1,x,red\n", "colour"),
        ("feature,label\nx,y\n", "record 1: invalid literal"),
        ("feature,label\n-1,y\n", "record 1: feature -1"),
        ("feature,label,f1\n1,y,nan\n", "f1 must be a finite number"),
        ("[1]", "record 1: it is no object"),
        ("[]", "holds no labels"),
        ('{"feature": 1, "text": "a"}', "record 1: a label is an object with"),
        (
            '{"feature": 1, "text": "a", "source": "s", "umap": 1}',
            "record 1: a label has no 'umap'",
        ),
        ('{"index": "1", "description": 3}', "record 1"),
        ('{"modelId": "m", "description": "a"}', "record 1: it has no 'index'"),
        (LINES + "{broken", "line 4 is no JSON"),
        ("\xff\xfe", "feature and label"),
        ("[" * 100_000, "is no JSON"),
    ],
)
def test_what_is_no_label_is_refused(data: str, reason: str, tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=reason):
        read_labels(written(tmp_path / "a", data))


def test_damaged_gzip_and_missing_files(tmp_path: Path) -> None:
    path = tmp_path / "a.gz"
    path.write_bytes(gzip.compress(LINES.encode())[:40])
    for wrong in (path, tmp_path / "gone.json"):
        with pytest.raises(FormatError, match="can't be read as text"):
            read_labels(wrong)
    (tmp_path / "empty").mkdir()
    with pytest.raises(FormatError, match="holds no batches"):
        read_labels(tmp_path / "empty")


def test_labels_of_another_dictionary(make: Callable[..., Dictionary], tmp_path: Path) -> None:
    imported = read_labels(written(tmp_path / "a", LINES))
    imported.check(make("standard", hookpoint="resid_post.20"))
    imported.check(make("standard"))
    with pytest.raises(DictionaryError, match=r"block 20, and .* reads resid_post\.2"):
        imported.check(make("standard", hookpoint="resid_post.2"))
    with pytest.raises(
        DictionaryError, match="feature 24, and the dictionary has features 0 to 23"
    ):
        Labels([Label(24, "a", "s")]).check(24)


def test_saved_and_read_back(make: Callable[..., Dictionary], tmp_path: Path) -> None:
    labels = Labels(
        [Label(4, "ünïcode “words”", "a", "m", 1.5, 0.1, 0.2, 0.3, "text"), Label(1, "b", "s")]
    )
    catalogue.save(make("standard"), tmp_path / "d")
    dictionary = catalogue.load(tmp_path / "d")
    assert not len(dictionary.labels)
    assert labels.save(tmp_path / "d") == tmp_path / "d" / "labels.jsonl"
    assert dictionary.labels == catalogue.labels(tmp_path / "d") == labels
    assert read_labels(tmp_path / "d" / "labels.jsonl").labels == labels
    assert not len(make("standard").labels)
    assert not len(dictionary.restrict([4]).labels)  # it is feature 0 there
    assert not len(catalogue.load(tmp_path / "d", features=[4]).labels)


def test_a_dictionary_of_one_file_has_its_own(tmp_path: Path) -> None:
    for name in ("layer1.sae.pt", "layer2.sae.pt"):
        (tmp_path / name).touch()
        Labels([Label(1, name, "s")]).save(tmp_path / name)
    assert Labels.load(tmp_path / "layer1.sae.pt").of(1) == Label(1, "layer1.sae.pt", "s")


@pytest.mark.parametrize("line", ["{", "[1]", '{"feature": 1.5, "text": "a", "source": "s"}', "\n"])
def test_a_damaged_file_of_ours(line: str, tmp_path: Path) -> None:
    (tmp_path / "labels.jsonl").write_text('{"feature":1,"text":"a","source":"s"}\n' + line)
    with pytest.raises(FormatError, match="line 2"):
        Labels.load(tmp_path)


def test_the_better_measured_label_is_shown() -> None:
    low, high, unmeasured = (
        Label(2, "a", "s", f1=0.2),
        Label(2, "b", "s", f1=0.9),
        Label(2, "c", "s"),
    )
    labels = Labels([unmeasured, low, high])
    assert labels.of(2) == high
    assert labels.by_feature[2] == (high, low, unmeasured)
    assert labels.of(1) is None
    assert Labels([unmeasured, Label(2, "d", "s")]).of(2) == unmeasured


def test_search() -> None:
    texts = {
        1: "Bridges and other structures",
        2: "bridge",
        3: "abridged editions",
        4: "the Golden Gate Bridge",
        5: "gates",
    }
    labels = Labels(Label(feature, text, "s") for feature, text in texts.items())

    def found(words: str) -> list[int]:
        return [label.feature for label in labels.search(words)]

    assert found("bridge") == found("BRIDGE!") == [2, 4, 1]
    assert found("gate") == [4, 5]
    assert found("bridge gate") == [4]
    assert found("tunnel") == []
    assert [label.feature for label in labels.search("bridge", 1)] == [2]
    with pytest.raises(DictionaryError, match="no word"):
        labels.search(" - ")


def test_merging_keeps_provenance_and_one_of_equals() -> None:
    a, b = Label(1, "x", "a"), Label(1, "x", "b")
    assert list(Labels([a]).merged(Labels([b, a]))) == [b, a]
    assert list(Labels([a, b]).without_source("a")) == [b]


@pytest.mark.parametrize(
    "wrong",
    [
        {"feature": -1}, {"feature": True}, {"feature": 1.0}, {"text": "  "}, {"text": None},
        {"source": None}, {"method": 3}, {"score": float("nan")}, {"f1": "0.5"},
    ],
)  # fmt: skip
def test_no_label(wrong: dict[str, Any]) -> None:
    with pytest.raises(DictionaryError):
        Label(**{"feature": 1, "text": "a", "source": "s", **wrong})
