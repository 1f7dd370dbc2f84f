"""The experiments on a tiny model: the laws that hold whatever the numbers are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from apps.reproduce.registry import find
from apps.reproduce.run import run
from apps.reproduce.table import Claim, Result, Table
from steer.errors import SteerError
from tests.evals import toy


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("reproduce")


@pytest.fixture(scope="module")
def frontier(folder: Path) -> Result:
    return run(find("frontier"), toy.settings(folder))


def rows(result: Result) -> Any:
    return result.table.rows


def row(result: Result, family: str, condition: str) -> Any:
    return next(r for r in rows(result) if (r["family"], r["condition"]) == (family, condition))


def test_identity_costs_nothing_and_zero_gives_nothing_back(frontier: Result) -> None:
    identity, zero = row(frontier, "control", "identity"), row(frontier, "control", "zero")
    assert (identity["ΔCE"], identity["CE recovered"], identity["FVU"]) == (0, 1, 0)
    assert zero["CE recovered"] == pytest.approx(0, abs=1e-12)


def test_every_sparsity_has_its_controls(frontier: Result) -> None:
    for r in rows(frontier):
        if r["family"] == "TopK":
            for control in ("PCA", "ICA", "random"):
                assert row(frontier, control, str(r["condition"]))["L0"] == pytest.approx(
                    r["L0"], rel=0.05
                )
        if r["L0"] is not None:
            assert r["FVU low"] <= r["FVU"] <= r["FVU high"]


def test_more_pca_coefficients_leave_less(frontier: Result) -> None:
    fvu = [r["FVU"] for r in rows(frontier) if r["family"] == "PCA"]
    assert fvu == sorted(fvu, reverse=True)


def test_the_same_command_gives_the_same_table(frontier: Result, tmp_path: Path) -> None:
    again = run(find("e1"), toy.settings(tmp_path))
    assert again.table == frontier.table


def test_another_run_takes_the_parts_from_the_cache(frontier: Result, folder: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in (folder / "cache").glob("dictionary-*")}
    assert before
    run(find("e1"), toy.settings(folder))
    assert before == {
        path: path.stat().st_mtime_ns for path in (folder / "cache").glob("dictionary-*")
    }


def test_what_is_written(frontier: Result, folder: Path) -> None:
    out = folder / "results"
    assert sorted(path.name for path in out.iterdir()) == ["e1.html", "e1.json", "e1.md"]
    written = json.loads((out / "e1.json").read_text())
    assert written == json.loads(json.dumps(frontier.to_dict())) | {"seconds": written["seconds"]}
    assert list(written["rows"][0]) == list(written["columns"])
    text = (out / "e1.md").read_text()
    assert all(claim.text in text for claim in frontier.table.claims)


def test_a_row_must_have_the_columns() -> None:
    with pytest.raises(ValueError, match="a row has"):
        Table({"a": "first"}, ({"b": 1},))


def test_json_has_no_nan() -> None:
    table = Table({"a": ""}, ({"a": float("nan")},), (Claim("c", "s", "m", None),))
    found = Result("e0", "none", table, {}, {}, 0.0)
    assert found.to_dict()["rows"] == [{"a": None}]
    assert "can't be told" in found.markdown()


def test_an_unknown_name() -> None:
    with pytest.raises(SteerError, match=r"no experiment .fronteer.*Did you mean frontier"):
        find("fronteer")


# -- interpretability --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def interpretability(folder: Path) -> Result:
    return run(find("interpretability"), toy.settings(folder))


def test_every_control_of_the_paper_is_there(interpretability: Result) -> None:
    names = [str(r["directions"]) for r in rows(interpretability)]
    for control in ("neurons", "PCA", "ICA", "random directions"):
        assert control in names
    assert names[0].startswith("TopK")
    assert names[-1].startswith("random weights")


def test_controls_are_as_rare_as_the_features(interpretability: Result) -> None:
    density = {str(r["directions"]): r["density"] for r in rows(interpretability)}
    trained = next(iter(density.values()))
    for control in ("neurons", "PCA", "random directions"):
        assert density[control] == pytest.approx(trained, rel=0.5)


def test_shares_are_shares(interpretability: Result) -> None:
    for r in rows(interpretability):
        assert 0 <= r["good low"] <= r["good"] <= r["good high"] <= 1
        assert r["entropy"] >= 0


def test_the_random_model_is_another_of_the_same_shape(folder: Path) -> None:
    import steer
    from apps.reproduce.e2 import random_model

    settings = toy.settings(folder)
    ours, theirs = settings.load(), steer.load(random_model(settings))
    shapes = [{n: p.shape for n, p in m.module.named_parameters()} for m in (ours, theirs)]
    assert shapes[0] == shapes[1]
    assert ours.fingerprint != theirs.fingerprint
    assert theirs.tokenize(["the store"])[0].equal(ours.tokenize(["the store"])[0])
