"""Every verb that can be sent: what it gives here, from kept jobs, and none is sent twice."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from nnsight.modeling import huggingface

import steer
from steer.errors import FetchError, ModelError, NonFiniteError
from steer.lm import remote_answers
from steer.lm.remote_jobs import kept_jobs
from tests.support import ROOT, tiny
from tests.support.ndif import HUB, Ndif, known, serving

EDIT = steer.Intervention("tiny", [steer.Clamp(5, 4.0)])
PROMPTS = tiny.PROMPTS[:2]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("STEER_CACHE", str(tmp_path))
    return tmp_path / "remote"


@pytest.fixture
def ndif(monkeypatch: pytest.MonkeyPatch) -> Iterator[Ndif]:
    monkeypatch.setitem(huggingface._ID_CACHE, HUB, HUB)
    with serving(known()) as running:
        yield running


@pytest.fixture(scope="module")
def model() -> steer.Model:
    return known()


def texts(model: steer.Model, remote: Any, **options: Any) -> list[Any]:
    run = model.generate(
        PROMPTS[0],
        EDIT,
        max_new_tokens=3,
        dictionaries=[tiny.dictionary()],
        remote=remote,
        **options,
    )
    return [list(run.ids), list(run.baseline.ids), [entry.after for entry in run.receipt]]


def effects(model: steer.Model, remote: Any) -> list[Any]:
    effect = steer.logit_effect(
        model, PROMPTS, EDIT, dictionaries=[tiny.dictionary()], batch=1, draws=2, remote=remote
    )
    assert effect.controls is not None
    controls = [row["effect"] for row in effect.controls.rows]
    return [effect.kl.tolist(), effect.delta_logit.tolist(), controls]


def doses(model: steer.Model, remote: Any) -> list[Any]:
    told = steer.dose_response(
        model, PROMPTS, tiny.dictionary(), 5, [2.0, 6.0], continuation=2, remote=remote
    )
    assert told.loss is not None
    names = ("effect", "kl", "delta_ce", "relative_dose", "loss")
    return [getattr(told, name).tolist() for name in names]


Verb = Callable[..., list[Any]]
VERBS: dict[str, tuple[Verb, int]] = {
    "generate": (texts, 1),
    "effects": (effects, 8),
    "doses": (doses, 4),
}
"""How many jobs each sends: effects four passes of one text each and four batches of controls."""
each_verb = pytest.mark.parametrize(("verb", "jobs"), VERBS.values(), ids=VERBS)


@each_verb
def test_a_server_and_a_rehearsal_give_what_is_found_here(
    verb: Verb, jobs: int, model: steer.Model, ndif: Ndif, cache: Path
) -> None:
    """The two alike to the bit. Here to 2e-5: whole passes there, resumed ones here."""
    there = verb(model, ndif.url)
    assert there == verb(model, "local")
    torch.testing.assert_close(there, verb(model, False), atol=2e-5, rtol=0)
    assert ndif.taken == jobs
    assert list(cache.iterdir()) == []


@each_verb
def test_what_ended_half_way_goes_on_and_sends_nothing_twice(
    verb: Verb, jobs: int, model: steer.Model, ndif: Ndif
) -> None:
    """Also not what was taken by the call that ended."""
    ndif.patience = 1 + jobs // 2
    if jobs > 1:
        with pytest.raises(FetchError, match="does not tell of job"):
            verb(model, ndif.url)
    ndif.patience, ndif.down = None, False
    assert verb(model, ndif.url) == verb(model, "local")
    assert ndif.taken == jobs
    assert kept_jobs() == []


KILLED = """
import sys, time
from nnsight.modeling import huggingface
from steer.errors import FetchError
from tests.steer.effects.test_remote_jobs import HUB, VERBS, known
huggingface._ID_CACHE[HUB] = HUB
model = known()
for verb, _ in VERBS.values():
    try:
        verb(model, sys.argv[1])
    except FetchError:
        print("sent", flush=True)
time.sleep(600)
"""


def test_a_process_that_was_killed(model: steer.Model, ndif: Ndif) -> None:
    """Its jobs are known by their content to the next one, however that one hashes."""
    ndif.down = True
    environment = {**os.environ, "PYTHONHASHSEED": "5", "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, ndif.url], env=environment, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert [process.stdout.readline() for _ in VERBS] == ["sent\n"] * len(VERBS)
    process.kill()
    process.wait()
    assert ndif.taken == len(kept_jobs()) >= 6
    ndif.down = False
    for verb, _ in VERBS.values():
        assert verb(model, ndif.url) == verb(model, "local")
    assert ndif.taken == sum(jobs for _, jobs in VERBS.values())


def test_another_model_edit_dtype_or_version_is_another_job(
    ndif: Ndif, model: steer.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    ndif.down = True
    turned = known()
    with torch.no_grad():
        turned.module.lm_head.weight.neg_()
    other = steer.load(turned.module, tokenizer=tiny.tokenizer())
    other.nn.repo_id = HUB
    asked = [(model, {}), (model, {"seed": 1}), (known("bfloat16"), {}), (other, {})]
    for asking, options in [*asked, *asked]:
        with pytest.raises(FetchError):
            texts(asking, ndif.url, **options)
    assert ndif.taken == len({job.digest for job in kept_jobs()}) == len(asked)
    monkeypatch.setattr(remote_answers, "source_digest", lambda: "another version")
    with pytest.raises(FetchError):
        texts(model, ndif.url)
    assert ndif.taken == len(asked) + 1


def test_a_server_in_another_dtype_is_no_answer(ndif: Ndif) -> None:
    with pytest.raises(
        ModelError, match=r"in float32, and here it is in bfloat16.*dtype='float32'"
    ):
        texts(known("bfloat16"), ndif.url)
    assert kept_jobs() == []


def test_results_that_a_server_has_thrown_away_are_computed_again(
    model: steer.Model, ndif: Ndif, monkeypatch: pytest.MonkeyPatch
) -> None:
    ndif.down = True
    with pytest.raises(FetchError):
        texts(model, ndif.url)
    ndif.down, ndif.lost = False, True
    send = ndif.take

    def take(body: bytes, boundary: bytes) -> dict[str, Any]:
        ndif.lost = False
        return send(body, boundary)

    monkeypatch.setattr(ndif, "take", take)
    assert texts(model, ndif.url) == texts(model, "local")
    assert ndif.taken == 2


def test_half_a_result_is_none(model: steer.Model, ndif: Ndif) -> None:
    ndif.damaged = True
    with pytest.raises(FetchError, match="answers of job job-1 is damaged"):
        texts(model, ndif.url)
    ndif.damaged = False
    assert texts(model, ndif.url) == texts(model, "local")
    assert ndif.taken == 1


def test_an_answer_of_another_shape_is_refused(model: steer.Model, ndif: Ndif, cache: Path) -> None:
    """As if two files of the cache had changed places."""
    ndif.down = True
    with pytest.raises(FetchError):
        effects(model, ndif.url)
    with pytest.raises(FetchError):
        texts(model, ndif.url)
    ndif.down = False
    text, *passes = sorted(kept_jobs(), key=lambda job: "rows of text" not in job.of)
    for job in (text, *passes):
        job.look()
    (cache / f"{text.digest}.pt").rename(cache / f"{passes[0].digest}.pt")
    with pytest.raises(steer.SteerError, match="what came back are no logits"):
        effects(model, ndif.url)


def test_text_from_an_overflow_is_refused_there_too(model: steer.Model, ndif: Ndif) -> None:
    large = steer.Intervention("tiny", [steer.Clamp(5, 1e37)])
    for remote in (False, "local", ndif.url):
        with pytest.raises(NonFiniteError):
            model.generate(
                PROMPTS[0], large, max_new_tokens=3, dictionaries=[tiny.dictionary()], remote=remote
            )
    assert kept_jobs() == []


def test_results_say_where_they_were_run(model: steer.Model) -> None:
    given = {"dictionaries": [tiny.dictionary()], "remote": "local"}
    run = model.generate(PROMPTS[0], EDIT, max_new_tokens=2, **given)  # type: ignore[arg-type]
    assert run.to_dict()["remote"] == run.remote == "local"
    assert "passes sent to local" in repr(run)
    here = model.generate(PROMPTS[0], EDIT, max_new_tokens=2, dictionaries=[tiny.dictionary()])
    assert "remote" not in here.to_dict()
