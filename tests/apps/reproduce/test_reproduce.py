"""The experiments on a tiny model: the laws that hold whatever the numbers are."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from apps.labels.endpoint import JudgeError
from apps.reproduce.registry import find
from apps.reproduce.result import Claim, Result, Table
from apps.reproduce.run import run
from steer.errors import SteerError
from tests.support import toy
from tests.support.judge import serving


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
    picture = set() if frontier.left_out else {"e1.svg"}
    assert {path.name for path in out.glob("e1.*")} == {"e1.html", "e1.json", "e1.md"} | picture
    written = json.loads((out / "e1.json").read_text())
    assert written == json.loads(json.dumps(frontier.to_dict())) | {"seconds": written["seconds"]}
    assert list(written["rows"][0]) == list(written["columns"])
    text = (out / "e1.md").read_text()
    assert all(claim.text in text for claim in frontier.table.claims)


def test_the_page_opens_without_a_network(frontier: Result, folder: Path) -> None:
    page = (folder / "results" / "e1.html").read_text()
    assert "Plotly.newPlot" in page
    assert not re.search(r"<(script|link)[^>]+(src|href)=", page)


def test_a_picture_that_cannot_be_made_is_left_out(
    frontier: Result, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "kaleido", None)
    assert "kaleido is missing: pip install" in frontier.write(tmp_path)
    assert {path.suffix for path in tmp_path.iterdir()} == {".html", ".json", ".md"}


def test_seeds_change_the_dictionary_and_nothing_else(frontier: Result) -> None:
    for family in ("TopK/seeds", "L1/seeds"):
        own = [r for r in rows(frontier) if r["family"] == family]
        assert len({r["condition"] for r in own}) == len({r["FVU"] for r in own}) == 2
    assert sum("training seeds" in note for note in frontier.table.notes) == 2
    assert frontier.table.figure is not None
    drawn = {trace.name for trace in frontier.table.figure(frontier.table).data}
    assert drawn == {"L1", "TopK", "PCA", "ICA", "random"}


def test_a_fast_run_gives_no_verdict(frontier: Result) -> None:
    assert {claim.holds for claim in frontier.table.claims} == {None}
    assert frontier.table.notes[0].startswith("A fast run")


def test_a_row_must_have_the_columns() -> None:
    with pytest.raises(ValueError, match="a row has"):
        Table({"a": "first"}, ({"b": 1},))


def test_json_has_no_nan() -> None:
    table = Table({"a": ""}, ({"a": float("nan")},), (Claim("c", "s", "m", None),))
    result = Result("e0", "none", table, {}, {}, 0.0)
    assert result.to_dict()["rows"] == [{"a": None}]
    assert "can't be told" in result.markdown()


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


def reader(prompt: str) -> str:
    """Explains, and finds every fragment, and simulates by the token's length."""
    if "have in common" in prompt:
        return "whatever is marked"
    lines = re.findall(r"(?m)^(\d+)\. (.*)$", prompt)
    if "In which of these" in prompt:
        return ", ".join(number for number, _ in lines)
    return "\n".join(f"{number}: {min(len(text), 10)}" for number, text in lines)


def test_a_judge_is_asked_about_every_kind_of_direction(
    interpretability: Result, folder: Path
) -> None:
    with serving(judge=reader) as (url, seen):
        settings = toy.settings(folder, judge="stub", endpoint=url)
        answer = run(find("e2"), settings)
        asked = len(seen)
        again = run(find("e2"), settings)
    assert {s["model"] for s in seen} == {"stub"}
    assert len(seen) == asked  # replies are kept
    assert again.table == answer.table
    for ours, plain in zip(rows(answer), rows(interpretability), strict=True):
        assert ours["judged"] == 2
        # Everything is named; a feature that is never silent counts as 0.
        assert ours["detected"] in (0, pytest.approx(1 / 3), pytest.approx(2 / 3))
        assert ours["detected low"] <= ours["detected"] <= ours["detected high"]
        assert abs(ours["simulated"]) <= 1
        assert {key: ours[key] for key in plain} == plain
    assert any(r["detected"] for r in rows(answer))
    assert answer.settings["judge"] == "stub"
    assert "explanations" in answer.table.claims[0].text


def test_a_judge_that_makes_no_sense_scores_nothing(folder: Path) -> None:
    with serving(judge=lambda prompt: "hm") as (url, _):
        answer = run(find("e2"), toy.settings(folder, judge="dull", endpoint=url))
    assert {(r["detected"], r["simulated"]) for r in rows(answer)} == {(0, 0)}


def test_a_local_model_can_be_the_judge(folder: Path) -> None:
    settings = toy.settings(folder)
    answer = run(find("e2"), replace(settings, judge=settings.model))
    assert all(0 <= r["detected"] <= 1 for r in rows(answer))


def test_a_judge_that_is_not_there(folder: Path) -> None:
    with pytest.raises(SteerError, match="an endpoint needs a judge"):
        toy.settings(folder, endpoint="http://127.0.0.1:1/v1")
    with serving((401, b"bad key")) as (url, _), pytest.raises(JudgeError, match="bad key"):
        run(find("e2"), toy.settings(folder, judge="closed", endpoint=url))


def test_without_a_judge_the_notes_say_so(interpretability: Result) -> None:
    assert any("No judge was given" in note for note in interpretability.table.notes)


def test_the_random_model_is_another_of_the_same_shape(folder: Path) -> None:
    import steer
    from apps.reproduce.e2_interpretability.experiment import random_model

    settings = toy.settings(folder)
    ours, theirs = settings.load(), steer.load(random_model(settings))
    shapes = [{n: p.shape for n, p in m.module.named_parameters()} for m in (ours, theirs)]
    assert shapes[0] == shapes[1]
    assert ours.fingerprint != theirs.fingerprint
    assert theirs.tokenize(["the store"])[0].equal(ours.tokenize(["the store"])[0])
