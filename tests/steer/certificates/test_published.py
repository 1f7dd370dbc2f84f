"""A published file is read whole: what it says is known, or refused by name."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from steer.certificates.published import names, read_published, same_kind
from steer.errors import FormatError

RECORD = {"token_ids": [3, 4, 5], "feature": 7, "values": [0, 1.5, 0]}


def write(folder: Path, **said: Any) -> Path:
    path = folder / "published.json"
    path.write_text(json.dumps(said))
    return path


@pytest.mark.parametrize("name", names())
def test_those_that_come_with_the_package_are_read(name: str) -> None:
    said = read_published(name)
    assert said.figures
    assert said.activations
    assert said.site is not None
    assert said.source is not None


def test_what_a_file_says(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        site="blocks.3.hook_resid_pre",
        kind="relu",
        dtype="torch.float32",
        figures={"l0": 50, "explained_variance": {"value": 0.8, "tolerance": 0.05}},
        activations=[RECORD],
    )
    said = read_published(path)
    assert said.site == "resid_pre.3"
    assert said.dtype == "float32"
    assert (said.figures["explained_variance"].low, said.figures["l0"].value) == (0.75, 50)
    assert said.activations[0].values == {7: (0.0, 1.5, 0.0)}


def test_neuronpedias_records_are_read(tmp_path: Path) -> None:
    export = {"index": "9758", "layer": "7-res-jb", "maxValue": 2.0, "values": [0, 2.0]}
    answer = {"tokens": ["a", "b"], "activations": [{"index": 1, "values": [1, 0]}, export]}
    said = read_published(write(tmp_path, activations=[{"tokens": ["a", "b"], **export}, answer]))
    assert [dict(activation.values) for activation in said.activations] == [
        {9758: (0.0, 2.0)},
        {1: (1.0, 0.0), 9758: (0.0, 2.0)},
    ]


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"hook": "x"}, "hook = 'x', which is not known"),
        ({"dtype": "int8"}, "dtype = 'int8'; allowed: float32"),
        ({"site": 3}, "site = 3, expected a str"),
        ({"prepend_bos": "yes"}, "prepend_bos = 'yes', expected a bool"),
        ({"texts": "one"}, "expected a list of texts"),
        ({"figures": {"mse": 1}}, "'mse'; allowed: l0, fvu"),
        ({"figures": {"l0": "50"}}, "l0 = '50', expected a number"),
        ({"figures": {"l0": {"value": 1, "sigma": 2}}}, "expected a number"),
        ({"figures": {"l0": True}}, "expected a number"),
        ({"activation_tolerance": 5}, "between 0 and 1"),
        ({"activations": {}}, "no list"),
        ({"activations": [{"feature": 1, "values": [1]}]}, r"activations\[0\] has no token_ids"),
        ({"activations": [{**RECORD, "values": [1]}]}, "expected one a token"),
        ({"activations": [{**RECORD, "values": None}]}, "no values of feature 7"),
        ({"activations": [{**RECORD, "feature": "x"}]}, "feature = 'x', expected an index"),
    ],
)
def test_what_is_not_known_is_refused(said: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=message):
        read_published(write(tmp_path, **said))


def test_a_file_that_is_not_there() -> None:
    with pytest.raises(FormatError, match=r"there is no file none.json.*gpt2-small-res-jb-7"):
        read_published("none.json")


def test_bounds_are_narrow_where_the_texts_are_known(tmp_path: Path) -> None:
    figures = {"l0": 60, "fvu": 0.2, "explained_variance": 0.8, "delta_ce": 0.1, "ce_score": 0.9}
    loose = read_published(write(tmp_path, figures=figures)).figures
    narrow = read_published(write(tmp_path, figures=figures, texts=["w3"])).figures
    for name, value in figures.items():
        assert loose[name].agrees(value)
        assert narrow[name].agrees(value)
        assert not narrow[name].agrees(value * 1.5)
    assert loose["l0"].agrees(100)
    assert not loose["l0"].agrees(200)
    assert loose["fvu"].agrees(0.05), "better than published, on other texts, is no deviation"
    assert not loose["fvu"].agrees(0.6)
    assert not loose["fvu"].agrees(math.nan)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("relu", "standard", True),
        ("BatchTopK", "jumprelu", True),
        ("jump_relu", "jumprelu", True),
        ("topk", "batchtopk", False),
        ("gated", "standard", False),
    ],
)
def test_names_of_a_kind(one: str, other: str, same: bool) -> None:
    assert same_kind(one, other) is same
