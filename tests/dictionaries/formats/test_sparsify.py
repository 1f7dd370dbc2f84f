"""sparsify: golden files of eai-sparsify itself, round trips, and what peers get wrong."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from dictionaries import catalogue
from dictionaries.architectures import GroupMax, TopK
from dictionaries.dictionary import Dictionary
from dictionaries.errors import FormatError, NotSeparableError
from dictionaries.formats import load_folder, sparsify
from tests.support import GOLDEN

FOLDER = GOLDEN / "sparsify"
CASES = sorted(path.parent for path in FOLDER.rglob("cfg.json"))
IDS = [case.parent.name for case in CASES]


@pytest.mark.parametrize("folder", CASES, ids=IDS)
def test_golden(folder: Path, assert_agrees: Callable[[Tensor, Tensor], None]) -> None:
    """Orientation, bias, transcode and skip: SAELens's own loader gets all four wrong."""
    expected = load_file(folder / "expected.safetensors")
    dictionary = load_folder(folder)
    features, _ = dictionary.encode(expected["x"])
    assert torch.equal(features != 0, expected["features"] != 0)
    assert_agrees(features, expected["features"])
    assert_agrees(dictionary.reconstruct(expected["x"]), expected["reconstruction"])


@pytest.mark.parametrize("folder", CASES, ids=IDS)
def test_sites_are_the_module_of_the_folder(folder: Path) -> None:
    """`layers.3.mlp` is the MLP's output (SAELens takes it for the residual stream)."""
    config = load_folder(folder).config
    assert config.model == "EleutherAI/pythia-160m"
    transcodes = "transcoder" in folder.parent.name
    sites = {"layers.3": "resid_post.3", "layers.3.attention": "attn_out.3"}
    assert config.hookpoint == sites.get(folder.name, "mlp_in.3" if transcodes else "mlp_out.3")
    assert config.hookpoint_out == ("mlp_out.3" if transcodes else None)


def test_a_square_dictionary_is_not_transposed(tmp_path: Path, x: Tensor) -> None:
    """Where d = m a transposed decoder has the right shape, so only the values tell."""
    encoder, decoder = torch.randn(8, 8), torch.randn(8, 8)
    tensors = {"encoder.weight": encoder, "encoder.bias": torch.zeros(8), "W_dec": decoder}
    save_file({**tensors, "b_dec": torch.zeros(8)}, tmp_path / "sae.safetensors")
    (tmp_path / "cfg.json").write_text(json.dumps({"d_in": 8, "num_latents": 8, "k": 8}))
    dictionary = load_folder(tmp_path)
    torch.testing.assert_close(dictionary.reconstruct(x), (x @ encoder.T).relu() @ decoder)


def test_legacy_signed_is_top_k_of_magnitudes(tmp_path: Path, x: Tensor) -> None:
    folder = Path(shutil.copytree(CASES[IDS.index("topk")], tmp_path / "layers.3"))
    cfg = json.loads((folder / "cfg.json").read_text()) | {"signed": True}
    (folder / "cfg.json").write_text(json.dumps(cfg))
    features = load_folder(folder).encode(x)[0]
    assert (features < 0).any()
    assert ((features != 0).sum(-1) == 4).all()


def group_max(topk: Dictionary) -> GroupMax:
    return GroupMax(topk.W_enc, topk.b_enc, topk.W_dec, topk.b_dec, topk.config, k=4)


@pytest.mark.parametrize("d_out", [None, 8])
@pytest.mark.parametrize("grouped", [False, True])
def test_round_trip(
    d_out: int | None,
    grouped: bool,
    make: Callable[..., Dictionary],
    x: Tensor,
    tmp_path: Path,
) -> None:
    sites = {"hookpoint": "mlp_in.3", "hookpoint_out": "mlp_out.3"} if d_out else {}
    options: dict[str, Any] = {"hookpoint": "resid_post.3", "model": "m", "d_out": 8} | sites
    options["d_out"] = d_out
    if d_out is None:
        written = make("topk", **{k: v for k, v in options.items() if k != "d_out"})
    else:
        written = make("topk", skip=True, **options)
    written = group_max(written) if grouped and d_out is None else written
    sparsify.write(written, tmp_path)
    read = load_folder(tmp_path)
    assert type(read) is type(written)
    assert read.config == written.config
    torch.testing.assert_close(read.encode(x)[0], written.encode(x)[0])
    torch.testing.assert_close(read.reconstruct(x), written.reconstruct(x))


def test_an_autoencoder_with_a_linear_part(
    make: Callable[..., Dictionary], x: Tensor, tmp_path: Path
) -> None:
    """It writes where it reads: no transcoder, and its reconstruction has both parts."""
    written = make("topk", skip=True, hookpoint="resid_post.3", model="m")
    sparsify.write(written, tmp_path)
    read = load_folder(tmp_path)
    assert (read.is_transcoder, read.config) == (False, written.config)
    assert read.W_skip is not None
    both = read.decode(read.encode(x)[0]) + x @ read.W_skip
    torch.testing.assert_close(read.reconstruct(x), both)
    torch.testing.assert_close(read.reconstruct(x), written.reconstruct(x))


@pytest.fixture
def release(make: Callable[..., Dictionary], tmp_path: Path) -> Path:
    """A run's folder: two blocks' own, and parts of blocks."""
    for name in ("layers.1", "layers.1.mlp", "layers.12", "layers.2.mlp", "layers.3.mlp",
                 "layers.3.attention"):  # fmt: skip
        sparsify.write(make("topk"), tmp_path / name)
        cfg = json.loads((tmp_path / name / "cfg.json").read_text())
        kept = {k: value for k, value in cfg.items() if "hookpoint" not in k and k != "model"}
        (tmp_path / name / "cfg.json").write_text(json.dumps(kept))
    (tmp_path / "config.json").write_text(json.dumps({"model": "EleutherAI/pythia-160m"}))
    (tmp_path / "layers.7").mkdir()
    return tmp_path


@pytest.mark.parametrize(
    ("block", "site"), [(1, "resid_post.1"), (12, "resid_post.12"), (2, "mlp_out.2")]
)
def test_a_block_of_a_release(block: int, site: str, release: Path) -> None:
    assert catalogue.load(f"{release}#{block}").config.hookpoint == site


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("#3", r"several dictionaries of block 3: .* layers\.3\.attention, layers\.3\.mlp"),
        ("#7", "no block 7; it holds 1, 2, 3, 12"),
        ("", "a dictionary for each of the blocks 1, 2, 3, 12: name one"),
    ],
)
def test_a_block_that_is_left_open(name: str, said: str, release: Path) -> None:
    with pytest.raises(FormatError, match=said):
        catalogue.load(f"{release}{name}")


@pytest.mark.parametrize("architecture", ["standard", "batchtopk", "abstopk", "gated"])
def test_other_architectures_are_not_written(
    architecture: str, make: Callable[..., Dictionary], tmp_path: Path
) -> None:
    with pytest.raises(FormatError, match="can't be written"):
        sparsify.write(make(architecture), tmp_path)


BAD = {
    "activation": {"activation": "relu"},
    "k": {"k": 0},
    "k large": {"k": 25},
    "d_in": {"d_in": 24},
    "num_latents": {"num_latents": 23},
    "expansion": {"num_latents": 0, "expansion_factor": None},
    "skip": {"skip_connection": True, "transcode": True},
    "skip without its tensor": {"skip_connection": True},
}


@pytest.mark.parametrize("changes", BAD.values(), ids=BAD.keys())
def test_bad_configs(changes: dict[str, Any], tmp_path: Path) -> None:
    folder = Path(shutil.copytree(CASES[IDS.index("topk")], tmp_path / "layers.3"))
    cfg = json.loads((folder / "cfg.json").read_text()) | changes
    (folder / "cfg.json").write_text(json.dumps(cfg))
    with pytest.raises(FormatError):
        load_folder(folder)


def test_groups_must_be_equal(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(CASES[IDS.index("groupmax")], tmp_path / "layers.3"))
    cfg = json.loads((folder / "cfg.json").read_text()) | {"k": 5}
    (folder / "cfg.json").write_text(json.dumps(cfg))
    with pytest.raises(FormatError, match="5 groups"):
        load_folder(folder)


def test_it_is_not_read_in_part() -> None:
    with pytest.raises(NotSeparableError):
        load_folder(CASES[0], features=[0])
    assert isinstance(load_folder(CASES[0]), TopK)
