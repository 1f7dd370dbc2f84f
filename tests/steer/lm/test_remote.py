"""The remote path, rehearsed: `remote="local"` serialises a run, hides our modules, and runs it."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from nnsight import CONFIG
from nnsight.schema.request import RequestModel

import steer
from dictionaries.dictionary import Dictionary
from steer.edits import AddDirection, Clamp, Intervention
from steer.lm.span import Span
from steer.runs.explain import SOURCE_BYTES
from tests.support import ROOT
from tests.support.tiny import PROMPT, PROMPTS, dictionary, tiny_model

EDIT = Intervention(
    "tiny",
    [
        Clamp(5, 4.0, when=steer.Active(7) | steer.Seen(3)),
        AddDirection(steer.Random(1), 1.0, schedule=steer.Ramp(3)),
    ],
)
FEATURES = (3, 5, 7)


@pytest.fixture(scope="module")
def model() -> steer.Model:
    return tiny_model("llama")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Jobs of its own for every test."""
    monkeypatch.setenv("STEER_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def payloads(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """What the rehearsal would have sent."""
    sent: list[bytes] = []
    serialize = RequestModel.serialize

    def recording(*args: Any, **kwargs: Any) -> bytes:
        sent.append(serialize(*args, **kwargs))
        return sent[-1]

    monkeypatch.setattr(RequestModel, "serialize", staticmethod(recording))
    return sent


def check_payload(payload: bytes, given: Dictionary) -> None:
    """Our source by value, and of the dictionary the rows of FEATURES alone."""
    assert b"def observe" in payload
    assert b"def encode" in payload
    assert b"JumpReLU" in payload
    assert b"def splice_loss" not in payload
    for feature in range(given.width):
        sent = given.W_dec[feature].numpy().tobytes() in payload
        assert sent == (feature in FEATURES)
    assert given.statistics is not None
    assert given.statistics.maximum.numpy().tobytes() not in payload


def check_same(there: steer.Run, here: steer.Run) -> None:
    """To rounding: there both prompts are read as one batch, here the edited one before."""
    assert (there.remote, here.remote) == ("local", "")
    alike = {"receipt": here.receipt, "logprobs": here.logprobs, "remote": ""}
    assert replace(there, **alike) == here
    for one, other in zip(there.receipt, here.receipt, strict=True):
        for ours, theirs in zip((one, *one.tokens), (other, *other.tokens), strict=True):
            for name in ("before", "after", "reached", "relative_dose"):
                assert getattr(ours, name) == pytest.approx(getattr(theirs, name), abs=1e-5)
        numbers = {"before": 0.0, "after": 0.0, "reached": 0.0, "relative_dose": 0.0}
        assert [replace(token, **numbers) for token in one.tokens] == [
            replace(token, **numbers) for token in other.tokens
        ]
        assert replace(one, **numbers, tokens=()) == replace(other, **numbers, tokens=())
    for ours, theirs in zip(there.logprobs, here.logprobs, strict=True):
        assert (ours.token, ours.id) == (theirs.token, theirs.id)
        assert ours.edited == pytest.approx(theirs.edited, abs=1e-5)
        assert ours.baseline == pytest.approx(theirs.baseline, abs=1e-5)


def test_generation_is_the_same_and_ships_source_and_rows_only(
    model: steer.Model, payloads: list[bytes]
) -> None:
    options: dict[str, Any] = {"max_new_tokens": 5, "seed": 2, "dictionaries": [dictionary()]}
    here = model.generate(PROMPT, EDIT, **options)
    there = model.generate(PROMPT, EDIT, remote="local", **options)
    check_same(there, here)
    (payload,) = payloads
    check_payload(payload, dictionary())


def test_a_batch_is_the_same(model: steer.Model, payloads: list[bytes]) -> None:
    edits = [EDIT, Intervention("tiny", [Clamp(5, 1.0)]), Intervention("tiny", [Clamp(3, 2.0)])]
    options: dict[str, Any] = {
        "max_new_tokens": 4, "dictionaries": [dictionary()], "watch": ["w9"], "if_silent": "ignore"
    }  # fmt: skip
    here = model.generate_batch(PROMPTS, edits, **options)
    there = model.generate_batch(PROMPTS, edits, remote="local", **options)
    for one, other in zip(there, here, strict=True):
        check_same(one, other)
        assert one.logprobs
    check_payload(payloads[0], dictionary())


@pytest.mark.parametrize("error", ["keep", "frozen"])
def test_logit_effects_are_the_same(error: Any, model: steer.Model, payloads: list[bytes]) -> None:
    edit = Intervention("tiny", EDIT.edits, error)
    tokens = 3 if error == "keep" else 0  # a generation has no clean run to take an error from
    options: dict[str, Any] = {"dictionaries": [dictionary()], "continuation": tokens, "draws": 0}
    here = steer.logit_effect(model, PROMPTS, edit, **options)
    assert not payloads
    there = steer.logit_effect(model, PROMPTS, edit, remote="local", **options)
    assert torch.equal(here.delta_logit, there.delta_logit)
    assert here.receipts == there.receipts
    assert payloads
    if error == "keep":
        assert here.forced is not None
        assert there.forced is not None
        for ours, theirs in zip(here.forced.on_edited, there.forced.on_edited, strict=True):
            assert torch.equal(ours.kl, theirs.kl)
        check_payload(payloads[1], dictionary())


def test_what_explain_says_of_the_payload(model: steer.Model, payloads: list[bytes]) -> None:
    """To a quarter: the tensors are counted, and about how much source we are is known."""
    given = dictionary()
    many = Intervention("tiny", [Clamp(i, 1.0) for i in range(1, 40)])
    drawn = Intervention("tiny", [steer.Resample(5, [PROMPT])])
    dropped = Intervention("tiny", [Clamp(5, 1.0)], "drop")
    for edit in (EDIT, many, drawn, dropped):
        model.generate(
            PROMPT, edit, max_new_tokens=2, dictionaries=[given], remote="local", if_silent="ignore"
        )
        explanation = model.explain(edit, dictionaries=[given])
        assert explanation.payload_bytes == pytest.approx(len(payloads[-1]), rel=0.25)
        assert f"{explanation.plans[0].payload_bytes:,} bytes of tensors" in str(explanation)
        assert f"{explanation.payload_bytes / 1e6:.1f} MB" in str(explanation)
        (plan,) = explanation.plans
        assert plan.payload_bytes == explanation.payload_bytes - SOURCE_BYTES


def test_a_listener_cannot_go_along(model: steer.Model) -> None:
    with pytest.raises(steer.SteerError, match="on_step"):
        model.generate(
            PROMPT, EDIT, dictionaries=[dictionary()], remote="local", on_step=lambda ids: None
        )


@pytest.mark.parametrize(
    ("remote", "error", "why"),
    [
        ("ndif", steer.SteerError, "remote='ndif' is not allowed"),
        ("localhost:5001", steer.SteerError, "starts with http"),
        (True, steer.FetchError, "no key for .*: set NDIF_API_KEY to yours"),
        ("http://localhost:1", steer.ModelError, "a server knows models by their hub id"),
    ],
)
def test_what_no_server_could_run(
    remote: Any,
    error: type[Exception],
    why: str,
    model: steer.Model,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(CONFIG.API, "APIKEY", None)
    with pytest.raises(error, match=why):
        model.generate(PROMPT, EDIT, dictionaries=[dictionary()], remote=remote)
    with pytest.raises(error, match=why):
        steer.logit_effect(model, [PROMPT], EDIT, dictionaries=[dictionary()], remote=remote)


def test_a_plan_moves_with_all_its_tensors(model: steer.Model) -> None:
    """A server's model is on another device than the plan was made on."""
    edit = Intervention("tiny", [*EDIT.edits, steer.Resample(9, [PROMPT])], "drop")
    (plan,) = model.plans([edit], [dictionary()])
    meta = torch.device("meta")
    moved = plan.to(meta)
    assert moved.dictionary is not None
    tensors = [moved.columns, moved.directions, moved.W_dec, moved.edits[-1].table]
    tensors += [getattr(moved.dictionary, name) for name in moved.dictionary.tensor_names()]
    ids, mask = model.tokenize([PROMPT])
    tensors += vars(model.span(ids, mask).to(meta)).values()
    assert {tensor.device for tensor in tensors if tensor is not None} == {meta}
    assert plan.to(torch.device("cpu")) is plan
    assert isinstance(model.span(ids, mask), Span)


SCRIPT = """
import sys
root = sys.argv[1]
sys.path[:] = [path for path in sys.path if path != root]
sys.meta_path[:] = [each for each in sys.meta_path if "editable" not in repr(each).lower()]
import steer, dictionaries, torch
for package in (steer, dictionaries):
    assert "site-packages" in package.__file__ and root not in package.__file__, package.__file__
from nnsight.schema.request import RequestModel
from tests.support.tiny import PROMPT, dictionary, tiny_model
sent, serialize = [], RequestModel.serialize
def recording(*args, **kwargs):
    sent.append(serialize(*args, **kwargs))
    return sent[-1]
RequestModel.serialize = staticmethod(recording)
edit = steer.Intervention(
    "tiny",
    [
        steer.Clamp(5, 4.0, when=steer.Active(7) | steer.Seen(3)),
        steer.AddDirection(steer.Random(1), 1.0, schedule=steer.Ramp(3)),
    ],
)
model, given = tiny_model("llama"), dictionary()
options = dict(max_new_tokens=4, dictionaries=[given])
run = model.generate(PROMPT, edit, **options)
away = model.generate(PROMPT, edit, remote="local", **options)
assert (away.ids, away.baseline) == (run.ids, run.baseline)
here = steer.logit_effect(model, [PROMPT], edit, draws=0, dictionaries=[given])
there = steer.logit_effect(
    model, [PROMPT], edit, draws=0, dictionaries=[given], remote="local"
)
assert torch.equal(here.delta_logit, there.delta_logit)
generated, clean, edited = sent
for payload in (generated, edited):
    assert b"def observe" in payload and b"def encode" in payload and b"JumpReLU" in payload
    for feature in range(given.width):
        found = given.W_dec[feature].numpy().tobytes() in payload
        assert found == (feature in (3, 5, 7)), feature
"""


def wheel(folder: Path) -> Path:
    """A wheel of the packages as they are here; made by hand, so that no network is needed."""
    path = folder / "sae_steer-0.1.0-py3-none-any.whl"
    info = "sae_steer-0.1.0.dist-info"
    with zipfile.ZipFile(path, "w") as file:
        for package in ("steer", "dictionaries"):
            for kind in ("*.py", "*.json"):
                for source in sorted((ROOT / package).rglob(kind)):
                    file.write(source, source.relative_to(ROOT))
        file.writestr(
            f"{info}/METADATA", "Metadata-Version: 2.1\nName: sae-steer\nVersion: 0.1.0\n"
        )
        file.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        file.writestr(f"{info}/RECORD", "")
    return path


def test_an_installed_copy_outside_the_checkout_ships_its_source(tmp_path: Path) -> None:
    site, elsewhere = tmp_path / "site-packages", tmp_path / "elsewhere"
    pip = [sys.executable, "-m", "pip", "install", "--no-deps", "--no-index", "--quiet"]
    subprocess.run([*pip, "--target", str(site), str(wheel(tmp_path))], check=True)
    (elsewhere / "tests" / "support").mkdir(parents=True)
    for name in ("__init__.py", "support/__init__.py", "support/tiny.py"):
        (elsewhere / "tests" / name).write_text((ROOT / "tests" / name).read_text())
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(ROOT)],
        cwd=elsewhere,
        env={**os.environ, "PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
