"""Sweeps whose edited passes run on a server: the effects of here, and no job sent twice."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from nnsight.modeling import huggingface

import steer
from steer.effects.sweep.remote import ROWS
from steer.errors import FetchError, SteerError
from steer.lm.remote_jobs import kept_jobs
from tests.support import tiny
from tests.support.command import Run
from tests.support.ndif import HUB, Ndif, known, serving

PROMPT = "w7 w31 w12"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("STEER_CACHE", str(tmp_path))
    return tmp_path / "remote"


@pytest.fixture
def ndif(monkeypatch: pytest.MonkeyPatch) -> Iterator[Ndif]:
    """A server that has the model too."""
    monkeypatch.setitem(huggingface._ID_CACHE, HUB, HUB)
    with serving(known()) as running:
        yield running


@pytest.fixture(scope="module")
def model() -> steer.Model:
    return known()


def swept(model: steer.Model, **options: Any) -> list[dict[str, Any]]:
    return list(steer.ablation_sweep(model, PROMPT, tiny.dictionary(), "active", **options).rows)


def check_same(there: list[dict[str, Any]], here: list[dict[str, Any]]) -> None:
    """To rounding: here a pass is resumed from the clean one, there it is whole."""
    assert len(there) == len(here)
    for theirs, ours in zip(there, here, strict=True):
        assert theirs.keys() == ours.keys()
        assert theirs == {**ours, **{"effect": pytest.approx(ours["effect"], abs=2e-5)}}


@pytest.mark.parametrize("metric", ["kl", "loss"])
@pytest.mark.parametrize("site", ["resid_post.1", "mlp_out.1"])
def test_a_rehearsed_sweep_is_the_sweep_here(
    metric: str, site: str, model: steer.Model, cache: Path
) -> None:
    sae = tiny.dictionary(site)
    edit = partial(steer.Clamp, value=6.0)
    here, there = (
        steer.ablation_sweep(model, PROMPT, sae, "all", metric=metric, edit=edit, remote=remote)
        for remote in (False, "local")
    )
    assert len(here.rows) > ROWS
    assert max(abs(row["effect"]) for row in here.rows) > 1e-3
    check_same(list(there.rows), list(here.rows))
    assert list(cache.iterdir()) == []


def test_pairs_are_the_same(model: steer.Model) -> None:
    sae, features = tiny.dictionary(), [row["feature"] for row in swept(model)[:4]]
    here, there = (
        steer.pair_sweep(model, PROMPT, sae, features, remote=remote) for remote in (False, "local")
    )
    for theirs, ours in zip(there.rows, here.rows, strict=True):
        assert theirs["joint"] == pytest.approx(ours["joint"], abs=2e-5)


def test_a_server_gives_what_the_rehearsal_gives(model: steer.Model, ndif: Ndif) -> None:
    assert swept(model, remote=ndif.url) == swept(model, remote="local")
    assert ndif.taken == -(-len(swept(model)) // ROWS)
    assert kept_jobs() == []


def test_what_was_sent_is_taken_later_and_not_sent_again(
    model: steer.Model, ndif: Ndif, run: Run
) -> None:
    ndif.down = True
    with pytest.raises(FetchError, match="does not tell of job job-1"):
        swept(model, remote=ndif.url)
    sent = ndif.taken
    assert sent == len(kept_jobs()) > 0
    (first, *_) = json.loads(run("jobs", "--json").out)
    assert "does not tell" in first["state"]
    ndif.down, ndif.running = False, True
    told = json.loads(run("jobs", "--json").out)
    assert [each["state"] for each in told] == ["running"] * sent
    assert told[0]["of"].startswith("sweep of resid_post.1, prompt 1")
    ndif.running = False
    assert {load["state"] for load in json.loads(run("jobs", "--json").out)} == {"answered"}
    ndif.results.clear()  # fetched, so the server is not needed
    rows = swept(model, remote=ndif.url)
    assert rows == swept(model, remote="local")
    assert ndif.taken == sent
    assert json.loads(run("jobs", "--json").out) == []


def test_another_question_is_another_job(model: steer.Model, ndif: Ndif) -> None:
    ndif.down = True
    for features in ([1, 2], [1, 3]):
        with pytest.raises(FetchError):
            steer.ablation_sweep(
                model, PROMPT, tiny.dictionary(), features, remote=ndif.url,
                edit=partial(steer.Clamp, value=3.0),
            )  # fmt: skip
    assert (ndif.taken, len({job.digest for job in kept_jobs()})) == (2, 2)


def test_a_job_that_fails_says_why_and_can_be_sent_again(model: steer.Model, ndif: Ndif) -> None:
    ndif.failing = "CUDA out of memory"
    with pytest.raises(SteerError, match=r"job job-1 failed at .*: CUDA out of memory"):
        swept(model, remote=ndif.url)
    ndif.failing = ""
    assert swept(model, remote=ndif.url) == swept(model, remote="local")


def test_a_job_that_the_server_lost_is_sent_again(
    model: steer.Model, ndif: Ndif, cache: Path
) -> None:
    ndif.down = True
    with pytest.raises(FetchError):
        swept(model, remote=ndif.url)
    ndif.down, sent = False, ndif.taken
    ndif.results.clear()
    for job in kept_jobs():
        early = datetime.now(UTC) - timedelta(hours=1)
        file = cache / f"{job.digest}.json"
        told = json.loads(file.read_text())
        file.write_text(json.dumps({**told, "sent": early.isoformat()}))
    assert swept(model, remote=ndif.url) == swept(model, remote="local")
    assert ndif.taken == 2 * sent


def test_a_server_that_is_not_there(model: steer.Model, ndif: Ndif) -> None:
    with pytest.raises(FetchError, match=r"127\.0\.0\.1:9 took no job"):
        swept(model, remote="http://127.0.0.1:9")
    assert kept_jobs() == []


def test_jobs_are_forgotten_when_told(model: steer.Model, ndif: Ndif, run: Run) -> None:
    ndif.down = True
    with pytest.raises(FetchError):
        swept(model, remote=ndif.url)
    assert "forgotten" in run("jobs", "--forget", "all").out
    assert kept_jobs() == []
    assert "no job is waited for" in run("jobs").out


def test_a_job_s_file_that_is_damaged_is_named(model: steer.Model, cache: Path) -> None:
    cache.mkdir()
    (cache / "x.json").write_text('{"id": 3}')
    with pytest.raises(SteerError, match=r"x\.json is no job that was sent"):
        kept_jobs()


def test_what_can_t_be_had_beside_it(model: steer.Model) -> None:
    for name, given in (("screen", steer.Screen(5)), ("executor", "ray")):
        with pytest.raises(SteerError, match=f"{name} can't be had with remote='local'"):
            swept(model, remote="local", **{name: given})


def test_a_prompt_that_is_there_twice(model: steer.Model, cache: Path) -> None:
    """Two questions, one job: the first to be answered does not take it from the other."""
    once, twice = (
        steer.ablation_sweep(model, [PROMPT] * n, tiny.dictionary(), [5, 7], remote="local",
            edit=partial(steer.Clamp, value=6.0)).rows
        for n in (1, 2)
    )  # fmt: skip
    assert len(twice) == 2 * len(once) > 0
    assert [row["effect"] for row in twice] == [row["effect"] for row in once] * 2
    assert list(cache.iterdir()) == []


def test_controls_are_the_same(model: steer.Model) -> None:
    here, there = (
        steer.ablation_sweep(
            model, PROMPT, tiny.dictionary(), [5, 7], edit=partial(steer.Clamp, value=6.0),
            against=steer.Against(draws=3), remote=remote,
        ).controls
        for remote in (False, "local")
    )  # fmt: skip
    assert len(here) == len(there) > 3
    for theirs, ours in zip(there, here, strict=True):
        assert theirs == {**ours, "control": pytest.approx(ours["control"], abs=2e-5)}
