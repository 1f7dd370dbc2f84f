"""`steer plan` of a tiny model, and of one that is known by its sizes alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from dictionaries import catalogue
from steer.costs.accelerators import TABLE
from tests.support import tiny
from tests.support.command import Run

JOBS = {
    "sweep": "--features 5 --prompts 3 --tokens 12",
    "harvest": "--tokens 5000 --context 16",
    "train": "--samples 900 --width 48 --k 4 --batch 32",
}


@pytest.mark.parametrize("job", JOBS)
def test_a_plan_has_every_machine(
    run: Run, model_folder: Callable[[], Path], tmp_path: Path, job: str
) -> None:
    asked = ["plan", job, *JOBS[job].split(), "--model", model_folder()]
    if job == "sweep":
        catalogue.save(tiny.dictionary(), tmp_path / "sae")
        asked += ["--dictionary", tmp_path / "sae"]
    code, out, err = run(*asked, "--json")
    assert (code, err) == (0, "")
    plan = json.loads(out)
    assert plan["all_flops"] == pytest.approx(plan["units"] * plan["flops"])
    names = [row["machine"] for row in plan["machines"]]
    measured = job != "harvest"  # that samples the default model alone
    assert names[measured:] == [each.name for each in TABLE]
    assert (plan["here"] is not None) == measured
    code, out, err = run(*asked, "--machine", "H100")
    assert (code, err) == (0, "")
    assert "H100 SXM" in out
    assert "B200" not in out
    assert ("measured on a sample" in out) == measured


@pytest.mark.parametrize("job", JOBS)
def test_an_unknown_machine_is_refused_before_a_sample_is_run(run: Run, job: str) -> None:
    """Before the model is looked for, too: there is none here."""
    asked = ["plan", job, *JOBS[job].split(), "--model", "none", "--machine", "Z80"]
    code, out, err = run(*asked)
    assert (code, out) == (2, "")
    assert "machine 'Z80' is unknown; allowed: " in err


def test_a_large_model_by_its_name(run: Run) -> None:
    sizes = "--features 1000000 --prompts 100 --layer 40 --width 1048576 --dtype bfloat16"
    code, out, err = run(
        *("plan", "sweep", "--model", "meta-llama/Llama-3.1-70B", *sizes.split(), "--json")
    )
    assert (code, err) == (0, "")
    plan = json.loads(out)
    assert plan["units"] == 1e8
    assert plan["here"] is None
