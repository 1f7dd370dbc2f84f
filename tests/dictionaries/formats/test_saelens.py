"""SAELens folders: golden files of sae-lens itself, and round trips."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

from dictionaries import catalogue
from dictionaries.architectures import BatchTopK
from dictionaries.dictionary import Dictionary
from dictionaries.errors import FormatError, NotSeparableError
from dictionaries.files.tensors import save_tensors
from dictionaries.formats import dictionary_learning, load_folder
from dictionaries.formats.saelens import folder as saelens
from tests.support.saelens_folder import FOLDER, edit, rewrite

CASES = sorted(
    p.parent.name for p in FOLDER.glob("*/cfg.json") if not p.parent.name.startswith("temporal")
)
ARCHITECTURES = ("standard", "jumprelu", "batchtopk", "topk", "abstopk", "gated")


@pytest.mark.parametrize("case", CASES)
def test_golden(case: str, assert_agrees: Callable[[Tensor, Tensor], None]) -> None:
    expected = load_file(FOLDER / case / "expected.safetensors")
    # sae-lens itself applies no scale to an unfolded file; what is meant is recorded beside it.
    meant = {name: expected.get(f"{name}_folded", tensor) for name, tensor in expected.items()}
    dictionary = load_folder(FOLDER / case)
    features, norm = dictionary.encode(meant["x"])
    assert torch.equal(features != 0, meant["features"] != 0)
    assert_agrees(features, meant["features"])
    assert_agrees(dictionary.decode(features, norm), meant["reconstruction"])
    if "forward" in meant:  # a skip transcoder's linear part, which sae-lens loses when spliced
        assert_agrees(dictionary.reconstruct(meant["x"]), meant["forward"])


@pytest.mark.parametrize("case", [c for c in CASES if "transcoder" not in c])
def test_site_and_model_are_read(case: str) -> None:
    config = load_folder(FOLDER / case).config
    assert (config.hookpoint, config.model) == ("resid_pre.3", "gpt2-small")
    assert not {"hook_name", "model_name", "hook_point"} & set(dict(config.metadata))


def test_transcoder_sites() -> None:
    config = load_folder(FOLDER / "skip_transcoder").config
    assert (config.hookpoint_out, config.d_out) == ("mlp_out.3", 6)
    assert config.hookpoint == "blocks.3.ln2.hook_normalized"  # before the gain: no site of ours


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("normalisation", ["none", "layer_norm", "constant_norm_rescale"])
def test_round_trip(
    architecture: str,
    normalisation: str,
    make: Callable[..., Dictionary],
    x: Tensor,
    tmp_path: Path,
) -> None:
    about = {"hookpoint": "resid_post.20", "model": "some-model", "metadata": (("prepend_bos", 1),)}
    written = make(architecture, normalisation=normalisation, **about)
    catalogue.save(written, tmp_path)
    read = catalogue.load(tmp_path)
    assert type(read) is type(written)
    assert read.config.hookpoint == "resid_post.20"
    assert read.config.model == "some-model"
    assert dict(read.config.metadata)["prepend_bos"] == 1
    assert getattr(read, "k", None) == getattr(written, "k", None)
    if architecture != "gated":  # whose b_enc moves into its two paths
        assert all(torch.equal(getattr(read, n), getattr(written, n)) for n in read.tensor_names())
    torch.testing.assert_close(read.encode(x)[0], written.encode(x)[0])
    torch.testing.assert_close(read.reconstruct(x), written.reconstruct(x))


@pytest.mark.parametrize("architecture", ["standard", "jumprelu"])
@pytest.mark.parametrize("skip", [False, True])
def test_transcoder_round_trip(
    architecture: str, skip: bool, make: Callable[..., Dictionary], x: Tensor, tmp_path: Path
) -> None:
    sites = {"hookpoint": "mlp_in.3", "hookpoint_out": "mlp_out.3", "d_out": 6}
    written = make(architecture, skip=skip, **sites)
    catalogue.save(written, tmp_path)
    read = catalogue.load(tmp_path)
    config = read.config
    assert (config.hookpoint, config.hookpoint_out, config.d_out) == tuple(sites.values())
    torch.testing.assert_close(read.reconstruct(x), written.reconstruct(x))


@pytest.mark.parametrize("architecture", ["topk", "gated"])
def test_transcoders_without_a_name_are_not_written(
    architecture: str, make: Callable[..., Dictionary], tmp_path: Path
) -> None:
    with pytest.raises(FormatError, match=f"no {architecture} transcoder"):
        catalogue.save(make(architecture, d_out=6), tmp_path)


@pytest.mark.parametrize("umask", [0o022, 0o027])
def test_files_are_as_readable_as_others(
    umask: int, make: Callable[..., Dictionary], tmp_path: Path
) -> None:
    before = os.umask(umask)
    try:
        catalogue.save(make("standard"), tmp_path)
    finally:
        os.umask(before)
    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    assert modes == {saelens.CONFIG: 0o666 & ~umask, saelens.WEIGHTS: 0o666 & ~umask}


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_only_matrices_are_stored_small(
    dtype: torch.dtype, make: Callable[..., Dictionary], tmp_path: Path
) -> None:
    written = make("batchtopk")
    catalogue.save(written, tmp_path, dtype)
    stored = load_file(tmp_path / saelens.WEIGHTS)
    assert {name for name, tensor in stored.items() if tensor.dtype == dtype} == {"W_enc", "W_dec"}
    read = catalogue.load(tmp_path)
    assert read.dtype == torch.float32
    assert torch.equal(read.b_enc, written.b_enc)
    assert torch.equal(read.W_enc, written.W_enc.to(dtype).float())


def test_a_dictionary_can_be_written_where_it_was_read(
    make: Callable[..., Dictionary], x: Tensor, tmp_path: Path
) -> None:
    catalogue.save(make("jumprelu"), tmp_path)
    read = catalogue.load(tmp_path)
    before = read.encode(x)[0].clone()
    catalogue.save(read, tmp_path, torch.float16)
    assert torch.equal(read.encode(x)[0], before)
    assert {path.name for path in tmp_path.iterdir()} == {"cfg.json", saelens.WEIGHTS}


def test_written_files_say_a_version_that_keeps_metadata(
    make: Callable[..., Dictionary], tmp_path: Path
) -> None:
    catalogue.save(make("batchtopk", hookpoint="resid_post.20"), tmp_path)
    cfg = json.loads((tmp_path / "cfg.json").read_text())
    assert cfg["architecture"] == "jumprelu"
    assert cfg["apply_b_dec_to_input"] is False
    assert cfg["metadata"]["sae_lens_version"] == "6.0.0"
    assert cfg["metadata"]["hook_name"] == "blocks.20.hook_resid_post"


@pytest.mark.parametrize("case", ["standard", "gated", "jumprelu_skip_transcoder"])
def test_only_some_features(case: str) -> None:
    whole, some = load_folder(FOLDER / case), load_folder(FOLDER / case, features=[5, 0])
    expected = whole.restrict([5, 0])
    assert some.width == 2
    assert all(torch.equal(getattr(some, n), getattr(expected, n)) for n in some.tensor_names())


@pytest.mark.parametrize("case", ["topk", "abstopk", "old_topk", "matching_pursuit"])
def test_topk_is_not_read_in_part(case: str) -> None:
    with pytest.raises(NotSeparableError, match="without `features`"):
        load_folder(FOLDER / case, features=[0])


def test_unknown_input_scale_is_not_guessed(copied: Callable[[str], Path], x: Tensor) -> None:
    folder = copied("standard_expected_average")
    scale = json.loads((folder / saelens.SCALER).read_text())["scaling_factor"]
    known = load_folder(folder)
    (folder / saelens.SCALER).unlink()
    with pytest.raises(FormatError, match="give norm_scale"):
        load_folder(folder)
    given = saelens.read(folder, norm_scale=scale)
    assert torch.equal(given.encode(x)[0], known.encode(x)[0])


def test_centred_residual_is_folded(copied: Callable[[str], Path], x: Tensor) -> None:
    """gpt2-small-res-jb was trained on TransformerLens's centred residual; models give it raw."""
    folder = copied("standard")
    plain = load_folder(folder)
    metadata = json.loads((folder / "cfg.json").read_text())["metadata"]
    metadata["model_from_pretrained_kwargs"] = {"center_writing_weights": True}
    edit(folder, metadata=metadata)
    centred = load_folder(folder)
    expected = plain.encode(x - x.mean(-1, keepdim=True))[0]
    torch.testing.assert_close(centred.encode(x)[0], expected, atol=1e-5, rtol=1e-5)
    assert dict(centred.config.metadata)["model_from_pretrained_kwargs"] == {}
    told = saelens.read(FOLDER / "standard", centred=True)
    assert torch.equal(told.W_enc, centred.W_enc)


def test_a_temporal_dictionary_s_scale_is_not_that_of_its_other_normalisation(
    copied: Callable[[str], Path],
) -> None:
    """`activation_normalization_factor` is read by `constant_scalar_rescale` alone."""
    folder = copied("temporal_constant_scalar_rescale")
    known = load_folder(folder)
    edit(folder, normalize_activations="expected_average_only_in")
    with pytest.raises(FormatError, match="give norm_scale"):
        load_folder(folder)
    given = saelens.read(folder, norm_scale=0.25)
    assert torch.equal(given.W_dec, known.W_dec)


def test_checkpoints_are_what_their_export_is(copied: Callable[[str], Path]) -> None:
    """BatchTopK of training has a threshold and is read as it; golden files compare the rest."""
    rescaled = load_folder(FOLDER / "batchtopk_checkpoint")
    assert isinstance(rescaled, BatchTopK)
    assert (rescaled.k, rescaled.threshold.unique().tolist()) == (5, [1.25])
    fractional = load_folder(FOLDER / "matryoshka_checkpoint")
    assert fractional.architecture == "jumprelu"  # which has no k
    folder = copied("batchtopk_checkpoint")
    rewrite(folder, lambda t: t["topk_threshold"].zero_())
    with pytest.raises(FormatError, match=r"topk_threshold is 0\.0: this checkpoint"):
        load_folder(folder)


def test_batchtopk_s_k_may_be_a_number_that_is_whole(copied: Callable[[str], Path]) -> None:
    folder = copied("batchtopk_exported")
    metadata = json.loads((folder / "cfg.json").read_text())["metadata"]
    metadata["training_architecture_details"]["k"] = 5.0
    edit(folder, metadata=metadata)
    read = load_folder(folder)
    assert isinstance(read, BatchTopK)
    assert read.k == 5
    metadata["training_architecture_details"]["k"] = float("inf")
    edit(folder, metadata=metadata)
    with pytest.raises(FormatError, match="k = inf"):
        load_folder(folder)


def test_an_autoencoder_with_a_linear_part_is_not_written(
    make: Callable[..., Dictionary], tmp_path: Path
) -> None:
    with pytest.raises(FormatError, match="no autoencoder with a linear part"):
        catalogue.save(make("standard", skip=True), tmp_path)
    with pytest.raises(FormatError, match="can't be written"):
        dictionary_learning.write(make("standard", skip=True), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_batchtopk_keeps_its_k_and_its_training(tmp_path: Path) -> None:
    dictionary = load_folder(FOLDER / "matryoshka_exported")
    assert isinstance(dictionary, BatchTopK)
    assert dictionary.k == 5
    catalogue.save(dictionary.restrict([3, 1]), tmp_path)  # k may exceed what is left
    read = load_folder(tmp_path)
    assert isinstance(read, BatchTopK)
    assert (read.k, read.width) == (5, 2)
    said = dict(read.config.metadata)
    assert said["training_architecture"] == "matryoshka_batchtopk"
    assert said["training_architecture_details"]["matryoshka_widths"] == [6, 12, 24]


def test_the_same_tensors_and_metadata_are_the_same_bytes(tmp_path: Path) -> None:
    metadata = {"tokens": "12", "corpus": "Zoë’s letters\n", "a": "", "z": '"quoted" \x01'}
    written = set()
    for number in range(8):
        path = tmp_path / f"{number}.safetensors"
        save_tensors({"W": torch.ones(2, 3)}, path, metadata)
        written.add(path.read_bytes())
        with safe_open(path, "pt") as file:
            assert file.metadata() == metadata
            assert torch.equal(file.get_tensor("W"), torch.ones(2, 3))
    assert len(written) == 1
