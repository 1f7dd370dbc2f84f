"""A large file opened for a few features reads their rows only."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from dictionaries import catalogue
from dictionaries.files.tensors import SafeTensors

D, M = 2304, 16384
ITEM = 4


def hole(folder: Path, d: int = D, width: int = M) -> Path:
    """A SAELens folder of zeros that take no place on the disk: its weights are a hole."""
    shapes = {
        "W_enc": [d, width], "b_enc": [width], "W_dec": [width, d], "b_dec": [d],
        "threshold": [width],
    }  # fmt: skip
    header, at = {}, 0
    for name, shape in shapes.items():
        size = ITEM * torch.Size(shape).numel()
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [at, at + size]}
        at += size
    said = json.dumps(header).encode()
    folder.mkdir(exist_ok=True)
    with (folder / "sae_weights.safetensors").open("wb") as file:
        file.write(len(said).to_bytes(8, "little") + said)
        file.truncate(8 + len(said) + at)
    cfg = {"architecture": "jumprelu", "d_in": d, "d_sae": width, "apply_b_dec_to_input": True}
    (folder / "cfg.json").write_text(json.dumps(cfg))
    return folder


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """16k x 2304, of 300 MB."""
    return hole(tmp_path)


def bytes_read() -> int:
    """Bytes that this process has asked the kernel for so far."""
    lines = Path("/proc/self/io").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("rchar")).split()[1])


@pytest.mark.skipif(sys.platform != "linux", reason="reads are counted in /proc/self/io")
def test_three_features_of_a_large_file(large: Path) -> None:
    catalogue.load(large, features=[0])  # imports are reads as well
    before = bytes_read()
    dictionary = catalogue.load(large, features=[7, 16383, 0])
    assert bytes_read() - before < 1_000_000
    assert (dictionary.width, dictionary.config.d_in) == (3, D)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("shape", [(200, 3), (3, 200), (200,), (2, 200, 3)])
def test_slices_are_the_stored_ones(
    dtype: torch.dtype, shape: tuple[int, ...], tmp_path: Path
) -> None:
    generator = torch.Generator().manual_seed(0)
    tensor = torch.randn(shape, generator=generator).to(dtype)
    path = tmp_path / "a.safetensors"
    save_file({"before": torch.zeros(3), "tensor": tensor}, path)
    axis = shape.index(200)
    for wanted in ([3, 199, 0], [5, 5], [], list(range(150))):
        read = SafeTensors(path, wanted).along("tensor", axis)
        assert torch.equal(read, tensor.index_select(axis, torch.tensor(wanted).long()).float())
