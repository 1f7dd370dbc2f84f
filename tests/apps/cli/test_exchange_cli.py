"""`steer import`: vectors that other tools saved become interventions."""

from __future__ import annotations

import json
from pathlib import Path

import numpy
import pytest
import torch

import steer
from steer.exchange.formats import save_steering_vector
from steer.exchange.vector_files import read_vectors
from tests.support import GOLDEN, tiny
from tests.support.command import Run

FILES = GOLDEN / "steering"
"""Written by repeng 0.4.0 and steering-vectors 0.12.2: see `make_steering_vectors.py` beside it."""
VECTORS = {layer: torch.from_numpy(numpy.load(FILES / f"{layer}.npy")) for layer in (1, 2)}
MADE = ("repeng.gguf", "steering_vector.pt", "layer_activations.pt")


@pytest.mark.parametrize("name", MADE)
def test_every_tool_s_file_adds_its_vector(name: str, run: Run, tmp_path: Path) -> None:
    out = tmp_path / "edit.json"
    options = ["--layer", 2, "--value", "2x vector", "--positions", "generated"]
    answer = run("import", FILES / name, "--out", out, *options, "--json")
    assert (answer.code, answer.err) == (0, "")
    (row,) = json.loads(answer.out)
    edit = steer.Intervention.load(out)
    assert (row["written"], row["digest"]) == (str(out), edit.digest)
    assert steer.Intervention.from_dict(row["intervention"]) == edit
    assert edit.edits[0].positions == "generated"
    (lowered,) = tiny.tiny_model("llama").plans([edit], ())
    (one,) = lowered.edits
    torch.testing.assert_close(one.amount * lowered.W_dec[one.target], 2 * VECTORS[2])
    assert str(lowered.out.hookpoint) == "resid_post.2"


def test_all_tools_files_give_one_digest(run: Run, tmp_path: Path) -> None:
    found = [read_vectors(FILES / name) for name in MADE]
    assert len({tuple(each.digest for each in several) for several in found}) == 1


def test_several_blocks_are_files_of_their_own(run: Run, tmp_path: Path) -> None:
    answer = run("import", FILES / "repeng.gguf", "--out", tmp_path / "edit.json")
    names = ["edit.resid_post.1.json", "edit.resid_post.2.json"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    said = answer.out.replace("\n", "")
    for name in names:
        assert steer.Intervention.load(tmp_path / name).digest in said
        assert f"--edit {tmp_path / name}" in answer.out


def test_our_own_files_come_back(run: Run, tmp_path: Path) -> None:
    model = tiny.tiny_model("llama")
    edit = steer.Intervention("resid_post.1", [steer.AddDirection(steer.Random(3), 1.5)])
    save_steering_vector(model, edit, tmp_path / "v.safetensors")
    assert run("import", tmp_path / "v.safetensors", "--out", tmp_path / "e.json").code == 0
    plans = [
        model.plans([each], ())[0] for each in (edit, steer.Intervention.load(tmp_path / "e.json"))
    ]
    ours, theirs = (p.edits[0].amount * p.W_dec[p.edits[0].target] for p in plans)
    torch.testing.assert_close(ours, theirs)


BAD = {
    "no file": ["nowhere.gguf"],
    "no vectors": ["{folder}/text.txt"],
    "empty": ["{folder}/empty"],
    "damaged": ["{folder}/half.gguf"],
    "another object": ["{folder}/other.pt"],
    "another site": ["{folder}/norm.pt"],
    "no such block": ["{files}/repeng.gguf", "--layer", "7"],
    "a feature's unit": ["{files}/repeng.gguf", "--value", "2x max"],
    "positions": ["{files}/repeng.gguf", "--positions", "first"],
    "no folder": ["{files}/repeng.gguf", "--layer", "1", "--out", "{folder}/nowhere/edit.json"],
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_line(name: str, run: Run, tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("no vectors are here")
    (tmp_path / "empty").write_bytes(b"")
    whole = (FILES / "repeng.gguf").read_bytes()
    (tmp_path / "half.gguf").write_bytes(whole[: len(whole) // 2])
    torch.save({"weight": torch.zeros(3)}, tmp_path / "other.pt")
    vector = (FILES / "steering_vector.pt").read_bytes()
    (tmp_path / "norm.pt").write_bytes(vector.replace(b"decoder_block", b"decoder_blond"))
    given = [each.format(folder=tmp_path, files=FILES) for each in BAD[name]]
    out = [] if "--out" in given else ["--out", tmp_path / "edit.json"]
    answer = run("import", *given, *out)
    assert (answer.code, answer.out) == (2, "")
    (line,) = answer.err.splitlines()
    assert line.startswith("steer: ")
    assert not (tmp_path / "edit.json").exists()
