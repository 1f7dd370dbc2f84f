"""Two actors write the file that one process writes, and one that is killed costs a unit."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import steer
from apps.cli.options.work import Work
from dictionaries.training.activations import ActivationStore, Contexts
from steer.errors import SteerError
from steer.jobs import ray as executor
from steer.jobs.harvest import harvest
from steer.jobs.job import Each
from steer.jobs.ray import Ray
from steer.jobs.run import Spread, run
from steer.jobs.worker import Source, check_same, installed
from steer.model import Model
from tests.support import tiny

ray = pytest.importorskip("ray", reason="Ray is not installed: the extra ray")
METRIC = steer.LogitDifference("w5", "w6")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Two cores of this machine, whatever it has."""
    try:
        ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    except Exception as error:  # what Ray raises where its node does not start in 30 s
        if "timed out during startup" not in str(error):
            raise
        pytest.skip("Ray's node did not start within its 30 s: the machine is too busy")
    yield ray
    ray.shutdown()


@pytest.fixture
def named(model_folder: Callable[[], Path]) -> Model:
    return steer.load(model_folder())


def swept(model: Model, file: Path, **options: Any) -> Any:
    asked = {"metric": METRIC, "block": 6, "file": file, **options}
    return steer.ablation_sweep(model, tiny.PROMPTS, tiny.dictionary(), **asked)


def killer(left: list[int]) -> Callable[[str, int, int], None]:
    """Progress that kills an actor's process at the first unit, as the system does."""

    def progress(what: str, done: int, total: int) -> None:
        if left:
            os.kill(left.pop(), signal.SIGKILL)

    return progress


def test_actors_write_what_one_process_writes_and_one_that_is_killed_costs_a_unit(
    cluster: Any, named: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone, spread = tmp_path / "alone", tmp_path / "spread"
    result = swept(named, alone)
    doomed: list[int] = []
    check = executor._check_versions

    def noted(module: Any, actors: list[Any]) -> None:
        check(module, actors)
        doomed.append(int(module.get(actors[0].installed.remote())["process"]))

    monkeypatch.setattr(executor, "_check_versions", noted)
    again = swept(named, spread, executor=Ray(actors=2), progress=killer(doomed))
    assert again.rows == result.rows
    assert not doomed
    assert spread.read_bytes() == alone.read_bytes()


def test_an_actor_harvests_what_this_process_harvests(
    cluster: Any, named: Model, tmp_path: Path
) -> None:
    ids = torch.randint(3, tiny.VOCABULARY, (7, 6), generator=torch.Generator().manual_seed(0))
    none = torch.zeros(7, dtype=torch.uint8)
    contexts = Contexts(ids.int(), none, none.bool(), ("x",))
    for name, spread in (("alone", None), ("spread", Ray(actors=1))):
        store = ActivationStore(tmp_path / name, {"resid_post.1": tiny.D})
        harvest(named, contexts, store, batch=2, executor=spread)
    for file in ("resid_post.1.bf16", "harvest.jsonl"):
        whole, parts = ((tmp_path / name / file).read_bytes() for name in ("alone", "spread"))
        assert whole == parts


def test_a_job_that_brings_all_it_needs_has_no_model(cluster: Any, tmp_path: Path) -> None:
    job = Each("squares", "squaring", "number", 5, lambda model, part: [{"of": part**2}])
    spreads = [
        Spread.of(tmp_path / "alone", None),
        Spread.of(tmp_path / "ray", None, Ray(actors=1)),
    ]
    for spread in spreads:
        assert [row["of"] for row in run(job, None, spread, {"squares": 1})] == [0, 1, 4, 9, 16]
    assert (tmp_path / "alone").read_bytes() == (tmp_path / "ray").read_bytes()


def test_what_is_wrong_with_workers_is_one_line(
    cluster: Any, named: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STEER_CACHE", str(tmp_path / "cache"))
    with pytest.raises(SteerError, match=r"room for 2 actors.* not for 9"):
        swept(named, tmp_path / "rows", executor=Ray(actors=9))
    given = tiny.tiny_model("llama")
    with pytest.raises(SteerError, match="given as an object"):
        swept(given, tmp_path / "rows", executor="ray")
    with pytest.raises(SteerError, match="leave device_map and quantization out"):
        Source.of(steer.load(named.name, device_map="disk"))
    with pytest.raises(SteerError, match="has other weights"):
        replace(Source.of(named), fingerprint="another").load()
    check_same({**installed(), "node": "elsewhere", "process": "1"})
    with pytest.raises(SteerError, match=r"worker on far has torch 0\.1, and here it is"):
        check_same({**installed(), "node": "far", "torch": "0.1"})


def test_wrong_executors(named: Model, tmp_path: Path) -> None:
    with pytest.raises(SteerError, match="'dask' is unknown; allowed: ray"):
        swept(named, tmp_path / "rows", executor="dask")
    with pytest.raises(SteerError, match="actors=0"):
        Ray(actors=0)


def test_the_option() -> None:
    assert Work().spread["executor"] is None
    assert Work(ray="10.0.0.1:6379").spread["executor"] == Ray("10.0.0.1:6379")
