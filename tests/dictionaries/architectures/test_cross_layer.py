"""Cross-layer transcoders as files: a block is a dictionary; damage and other kinds are refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from dictionaries import catalogue
from dictionaries.errors import DictionaryError, FormatError
from dictionaries.formats import load_folder
from tests.support.cross_layer import SCOPE, parts, random_blocks, write_scope
from tests.support.tiny import LAYERS, D


@pytest.mark.parametrize("layer", range(LAYERS))
def test_a_block_is_a_dictionary(either_clt: Path, layer: int) -> None:
    loaded, block = catalogue.load(f"{either_clt}#{layer}"), random_blocks()[layer]
    x = torch.randn(7, D, generator=torch.Generator().manual_seed(9))
    pre = x @ block["W_enc"].T + block["b_enc"]
    torch.testing.assert_close(loaded.encode(x)[0], pre.relu() * (pre > block["threshold"]))
    assert loaded.config.hookpoint == f"mlp_in.{layer}"
    for step, part in enumerate(parts(loaded)):
        assert part.config.hookpoint_out == f"mlp_out.{layer + step}"
        assert torch.equal(part.W_dec, block["W_dec"][:, step])
    assert loaded.name == f"{either_clt}#{layer}"
    assert load_folder(catalogue.find(loaded.name)).name == f"clt#{layer}"
    some = catalogue.load(f"{either_clt}#{layer}", features=[5, 9])
    for few, all_of_them in zip(parts(some), parts(loaded), strict=True):
        assert torch.equal(few.W_dec, all_of_them.W_dec[[5, 9]])


def test_the_first_block_reconstructs_its_site(either_clt: Path) -> None:
    loaded, block = catalogue.load(f"{either_clt}#0"), random_blocks()[0]
    x = torch.randn(7, D)
    whole = loaded.encode(x)[0] @ block["W_dec"][:, 0] + block["b_dec"]
    torch.testing.assert_close(loaded.reconstruct(x), whole)
    with pytest.raises(DictionaryError, match="part of"):
        catalogue.load(f"{either_clt}#1").reconstruct(x)


def test_the_linear_part_is_of_the_raw_input(tmp_path: Path) -> None:
    blocks, skip = random_blocks(), torch.randn(D, D)
    plainly = catalogue.load(f"{write_scope(tmp_path / 'a', blocks)}#0")
    affine = catalogue.load(f"{write_scope(tmp_path / 'b', blocks, skip)}#0")
    x = torch.randn(7, D)
    torch.testing.assert_close(affine.reconstruct(x), plainly.reconstruct(x) + x @ skip)


def test_the_folder_itself_holds_several(either_clt: Path) -> None:
    with pytest.raises(FormatError, match=r"blocks 0 to 2: name one, such as .*clt#0"):
        load_folder(either_clt)
    with pytest.raises(FormatError, match="no block 7; it holds 0 to 2"):
        catalogue.load(f"{either_clt}#7")


def test_a_crosscoder_reads_several_sites(tmp_path: Path) -> None:
    folder = write_scope(tmp_path / "clt", random_blocks())
    (folder / "config.json").write_text(json.dumps(SCOPE | {"type": "crosscoder"}))
    with pytest.raises(FormatError, match="holds a crosscoder, which reads several sites"):
        catalogue.load(f"{folder}#1")


def spoilt(folder: Path, how: str) -> None:
    block = random_blocks()[1]
    decoder = {"W_dec_1": block.pop("W_dec")}
    encoder = {f"{name}_1": tensor for name, tensor in block.items()}
    match how:
        case "no block":
            (folder / "W_dec_1.safetensors").unlink()
        case "cut":
            path = folder / "W_enc_1.safetensors"
            path.write_bytes(path.read_bytes()[:200])
        case "flat":
            decoder = {"W_dec_1": decoder["W_dec_1"].flatten(1)}
        case "turned":
            encoder["W_enc_1"] = encoder["W_enc_1"].T.contiguous()
        case "nan":
            decoder["W_dec_1"][0, 0, 0] = torch.nan
        case "negative":
            encoder["threshold_1"] = -encoder["threshold_1"]
        case "extra":
            encoder["evil"] = torch.zeros(1)
        case "config":
            (folder / "config.yaml").write_text("feature_input_hook: [1]")
        case "yaml":
            (folder / "config.yaml").write_text("!!python/object/apply:os.system ['touch trace']")
    if how not in ("no block", "cut", "config", "yaml"):
        save_file(encoder, folder / "W_enc_1.safetensors")
        save_file(decoder, folder / "W_dec_1.safetensors")


@pytest.mark.parametrize(
    "how", ["no block", "cut", "flat", "turned", "nan", "negative", "extra", "config", "yaml"]
)
def test_damaged_files(how: str, clt: Path) -> None:
    spoilt(clt, how)
    with pytest.raises(FormatError):
        catalogue.load(f"{clt}#1")
