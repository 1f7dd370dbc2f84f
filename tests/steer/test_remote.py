"""The remote path, rehearsed: `remote="local"` serialises a run, hides our modules, and runs it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from nnsight.schema.request import RequestModel

import steer
from steer import engine
from steer.edits import AddDirection, Clamp, Intervention
from tests.tiny import PROMPT, dictionary, tiny_model

EDIT = Intervention(
    "tiny",
    [
        Clamp(5, 4.0, when=steer.Active(7) | steer.Seen(3)),
        AddDirection(steer.Random(1), 1.0, schedule=steer.Ramp(3)),
    ],
)


@pytest.fixture(scope="module")
def model() -> steer.Model:
    return tiny_model("llama")


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


def test_generation_is_the_same_and_ships_source_and_rows_only(
    model: steer.Model, payloads: list[bytes]
) -> None:
    here = model.generate(PROMPT, EDIT, max_new_tokens=5, seed=2, dictionaries=[dictionary()])
    there = model.generate(
        PROMPT, EDIT, max_new_tokens=5, seed=2, dictionaries=[dictionary()], remote="local"
    )
    assert there == here
    (payload,) = payloads
    assert b"def observe" in payload
    assert b"def splice_loss" not in payload
    given = dictionary()
    assert given.W_dec.numpy().tobytes() not in payload
    assert given.W_dec[5].numpy().tobytes() in payload


def test_logits_are_the_same(model: steer.Model, payloads: list[bytes]) -> None:
    ids, mask = model.tokenize([PROMPT, PROMPT])
    plans = model.plans([EDIT], [dictionary()], rows=slice(1, 2))
    here, _ = engine.logits(model.nn, ids, model.span(ids, mask), plans)
    there, _ = engine.logits(model.nn, ids, model.span(ids, mask), plans, "local")
    assert here.equal(there)
    assert b"def observe" in payloads[0]


def test_a_listener_cannot_go_along(model: steer.Model) -> None:
    with pytest.raises(steer.SteerError, match="on_step"):
        model.generate(
            PROMPT, EDIT, dictionaries=[dictionary()], remote="local", on_step=lambda ids: None
        )


SCRIPT = """
import steer
from tests.tiny import PROMPT, dictionary, tiny_model
from tests.steer.test_remote import EDIT
from nnsight.schema.request import RequestModel
assert "site-packages" in steer.__file__, steer.__file__
sent, serialize = [], RequestModel.serialize
def recording(*args, **kwargs):
    sent.append(serialize(*args, **kwargs))
    return sent[-1]
RequestModel.serialize = staticmethod(recording)
model = tiny_model("llama")
options = dict(max_new_tokens=4, dictionaries=[dictionary()])
assert model.generate(PROMPT, EDIT, **options) == model.generate(
    PROMPT, EDIT, remote="local", **options
)
assert b"def observe" in sent[0]
"""


def test_an_installed_copy_outside_the_checkout_ships_its_source(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    site = tmp_path / "site-packages"
    site.mkdir()
    for package in ("steer", "dictionaries", "apps"):
        subprocess.run(["cp", "-r", str(root / package), str(site / package)], check=True)
    (tmp_path / "elsewhere").mkdir()
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        cwd=tmp_path / "elsewhere",
        env={**os.environ, "PYTHONPATH": f"{site}{os.pathsep}{root}"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
