"""dictionary_learning: golden files of the library itself, sites, round trips, bad files."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from dictionaries.architectures import BatchTopK, TopK
from dictionaries.dictionary import Dictionary
from dictionaries.errors import FormatError
from dictionaries.formats import dictionary_learning, load_folder
from tests.support import GOLDEN

FOLDER = GOLDEN / "dictionary_learning"
CASES = sorted(path.parent.name for path in FOLDER.glob("*/ae.pt"))
WRITABLE = ("standard", "jumprelu", "batchtopk", "topk", "gated")


@pytest.fixture
def copied(tmp_path: Path) -> Callable[[str], Path]:
    """A golden case in a folder that may be spoilt."""

    def copy(case: str) -> Path:
        return Path(shutil.copytree(FOLDER / case, tmp_path / case))

    return copy


def edit(folder: Path, part: str, **changes: Any) -> None:
    path = folder / "config.json"
    config = json.loads(path.read_text())
    merged = config[part] | changes
    config[part] = {name: value for name, value in merged.items() if value is not None}
    path.write_text(json.dumps(config))


@pytest.mark.parametrize("case", CASES)
def test_golden(case: str, assert_agrees: Callable[[Tensor, Tensor], None]) -> None:
    expected = load_file(FOLDER / case / "expected.safetensors")
    dictionary = load_folder(FOLDER / case)
    features, _ = dictionary.encode(expected["x"])
    assert torch.equal(features != 0, expected["features"] != 0)
    assert_agrees(features, expected["features"])
    assert_agrees(dictionary.reconstruct(expected["x"]), expected["reconstruction"])
    assert dictionary.config.model == "EleutherAI/pythia-160m-deduped"


@pytest.mark.parametrize("case", [c for c in CASES if c != "topk"])
def test_only_some_features(case: str) -> None:
    some, whole = load_folder(FOLDER / case, features=[5, 0]), load_folder(FOLDER / case)
    expected = whole.restrict([5, 0])
    for name in some.tensor_names():
        torch.testing.assert_close(getattr(some, name), getattr(expected, name))


SITES: dict[str, tuple[dict[str, Any], str, str]] = {
    "mlp": ({}, "out", "mlp_out.3"),
    "mlp input": ({}, "in", "mlp_in.3"),
    "arditi": ({"submodule_name": "resid_post_layer_7"}, "out", "resid_post.7"),
    "marks": ({"submodule_name": "attn_out_layer2"}, "out", "attn_out.2"),
    "layer only": ({"submodule_name": None}, "out", "resid_post.3"),
    "layer only, input": ({"submodule_name": None}, "in", "resid_pre.3"),
    "module": ({"submodule_name": "gpt_neox.layers.4.mlp"}, "out", "mlp_out.4"),
    "a norm after it": (
        {"submodule_name": "model.layers.4.mlp", "lm_name": "google/gemma-2-2b"},
        "out",
        "model.layers.4.mlp:output",
    ),
    "a norm after it, named": (
        {"submodule_name": "mlp_out_layer_4", "lm_name": "google/gemma-2-2b"},
        "out",
        "mlp_out_layer_4:output",
    ),
    "unknown": ({"submodule_name": "router_layer_3"}, "out", "router_layer_3:output"),
}


@pytest.mark.parametrize(("trainer", "io", "site"), SITES.values(), ids=SITES.keys())
def test_site_is_the_submodule(
    trainer: dict[str, Any], io: str, site: str, copied: Callable[[str], Path]
) -> None:
    """SAELens takes the residual stream of `layer`, whatever submodule_name and io say."""
    folder = copied("standard")
    edit(folder, "trainer", **trainer)
    edit(folder, "buffer", io=io)
    assert load_folder(folder).config.hookpoint == site


@pytest.mark.parametrize("case", [c for c in CASES if "topk" not in c])
def test_old_releases_have_no_config(case: str, tmp_path: Path, x: Tensor) -> None:
    folder = tmp_path / "pythia-70m-deduped" / "resid_out_layer3" / "10_32768"
    shutil.copytree(FOLDER / case, folder)
    (folder / "config.json").unlink()
    read = load_folder(folder)
    assert read.config.hookpoint == "resid_post.3"
    assert torch.equal(read.encode(x)[0], load_folder(FOLDER / case).encode(x)[0])


@pytest.mark.parametrize("case", ["topk", "batchtopk"])
def test_topk_or_batchtopk_is_not_guessed(case: str, copied: Callable[[str], Path]) -> None:
    folder = copied(case)
    (folder / "config.json").unlink()
    with pytest.raises(FormatError, match="AutoEncoderTopK or BatchTopKSAE"):
        load_folder(folder)


@pytest.mark.parametrize("architecture", WRITABLE)
def test_round_trip(
    architecture: str, make: Callable[..., Dictionary], x: Tensor, tmp_path: Path
) -> None:
    written = make(architecture, hookpoint="resid_post.20", model="m")
    dictionary_learning.write(written, tmp_path)
    read = load_folder(tmp_path)
    assert type(read) is type(written)
    assert read.config == written.config
    dictionary_learning.write(read, tmp_path)  # over the file that it is mapped from
    torch.testing.assert_close(read.encode(x)[0], written.encode(x)[0], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(read.reconstruct(x), written.reconstruct(x), atol=1e-4, rtol=1e-5)


def test_what_has_no_class_is_not_written(make: Callable[..., Dictionary], tmp_path: Path) -> None:
    batchtopk = make("batchtopk")
    assert isinstance(batchtopk, BatchTopK)
    bad = [
        make("abstopk"),
        make("standard", normalisation="layer_norm"),
        make("standard", d_out=6),
        replace(batchtopk, threshold=torch.arange(24) / 24),
    ]
    for dictionary in bad:
        with pytest.raises(FormatError):
            dictionary_learning.write(dictionary, tmp_path)


BAD: dict[str, tuple[str, dict[str, Any]]] = {
    "class": ("trainer", {"dict_class": "IdentityDict"}),
    "another class": ("trainer", {"dict_class": "GatedAutoEncoder"}),
    "class is a number": ("trainer", {"dict_class": 3}),
    "k differs": ("trainer", {"k": 6}),
    "between sites": ("buffer", {"io": "in_and_out"}),
}


@pytest.mark.parametrize(("part", "changes"), BAD.values(), ids=BAD.keys())
def test_bad_configs(part: str, changes: dict[str, Any], copied: Callable[[str], Path]) -> None:
    folder = copied("topk")
    assert isinstance(load_folder(folder), TopK)
    edit(folder, part, **changes)
    with pytest.raises(FormatError):
        load_folder(folder)


@pytest.mark.parametrize("case", ["batchtopk", "matryoshka"])
def test_a_threshold_that_was_never_set(case: str, copied: Callable[[str], Path]) -> None:
    """-1 is the buffer's first value; gating by it would let every feature through."""
    folder = copied(case)
    state = torch.load(folder / "ae.pt", weights_only=True)
    state["threshold"].fill_(-1.0)
    torch.save(state, folder / "ae.pt")
    with pytest.raises(FormatError, match="never calibrated"):
        load_folder(folder)


def test_a_site_behind_a_norm_has_no_name(make: Callable[..., Dictionary], tmp_path: Path) -> None:
    gemma = make("standard", hookpoint="mlp_out.3", model="google/gemma-2-2b")
    with pytest.raises(FormatError, match=r"output is the mlp_out\.3 of google/gemma-2-2b"):
        dictionary_learning.write(gemma, tmp_path)
