"""Steering with a dictionary that is larger than memory: pages of its file come and go."""

from __future__ import annotations

import json
import os
import struct
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

import steer
from dictionaries import catalogue
from dictionaries.dictionary import Dictionary
from dictionaries.files.tensors import SafeTensors
from tests.dictionaries.files.test_rows import ITEM, bytes_read, hole
from tests.support import plain, tiny

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="counted in /proc/self")
SITE = "resid_post.1"


def plant(folder: Path, features: list[int]) -> None:
    """Write some features' rows into the hole, with the same value in every entry."""
    with (folder / "sae_weights.safetensors").open("r+b") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
        width = header["b_enc"]["shape"][0]
        for feature in features:
            value = struct.pack("<f", 0.1 * (1 + feature % 7))
            for j in range(tiny.D):
                for name, cell in (("W_enc", j * width + feature), ("W_dec", feature * tiny.D + j)):
                    start = 8 + length + header[name]["data_offsets"][0]
                    os.pwrite(file.fileno(), value, start + cell * ITEM)


def steered(model: steer.Model, sae: Dictionary, edit: steer.Edit) -> torch.Tensor:
    """Final hidden states of the edited row."""
    with plain.recorded(plain.final_norm(model.module)) as hidden:
        model.generate(
            tiny.PROMPT,
            steer.Intervention(sae.name, [edit]),
            dictionaries=[sae],
            max_new_tokens=1,
            if_silent="ignore",
        )
    return hidden[0][0]


def test_eight_gigabytes_by_rows(llama: steer.Model, tmp_path: Path) -> None:
    """Clamping a row of an 8 GB file is adding the value along what was planted there."""
    width = 2**25
    folder = hole(tmp_path / "large", tiny.D, width)
    assert (folder / "sae_weights.safetensors").stat().st_size > 8e9
    plant(folder, [width - 3, 12])
    catalogue.load(folder, features=[0])
    before = bytes_read()
    rows = catalogue.load(folder, features=[12, width - 3])
    assert bytes_read() - before < 1_000_000
    rows = replace(rows, config=replace(rows.config, hookpoint=SITE))
    direction = torch.full((tiny.D,), 0.1 * (1 + 12 % 7))
    torch.testing.assert_close(rows.W_dec[0], direction)
    silent = replace(rows, b_enc=torch.full((2,), -100.0))
    clamped = steered(llama, silent, steer.Clamp(0, 5.0))
    added = steered(
        llama,
        silent,
        steer.AddDirection(steer.Vector(direction.tolist()), 5.0 * direction.norm().item()),
    )
    torch.testing.assert_close(clamped, added, atol=1e-5, rtol=1e-5)
    assert (clamped - steered(llama, silent, steer.Clamp(0, 0.0))).abs().max() > 0.1


def test_a_file_that_memory_can_t_hold(tmp_path: Path) -> None:
    """Where even the address space for a private mapping would be refused."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    width = memory // (2 * tiny.D * ITEM) + 2**20
    folder = hole(tmp_path / "larger", tiny.D, width)
    assert (folder / "sae_weights.safetensors").stat().st_size > memory
    plant(folder, [width - 3])
    rows = catalogue.load(folder, features=[width - 3])
    assert torch.equal(rows.W_dec[0], torch.full((tiny.D,), 0.1 * (1 + (width - 3) % 7)))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
def test_mapped_so_that_it_can_t_be_written_to(dtype: torch.dtype, tmp_path: Path) -> None:
    stored = {"a": torch.randn(3).to(dtype), "b": torch.randn(5, 7).to(dtype)}
    save_file(stored, tmp_path / "x.safetensors")
    file = SafeTensors(tmp_path / "x.safetensors")
    for name, tensor in stored.items():
        assert torch.equal(file._read_only(name), tensor)


def anonymous_memory() -> int:
    """Bytes of this process that can't be dropped and read again."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith("RssAnon")).split()[1])


def test_a_whole_file_stays_mapped(llama: steer.Model, tmp_path: Path) -> None:
    width = 2**20
    folder = hole(tmp_path / "large", tiny.D, width)
    size = (folder / "sae_weights.safetensors").stat().st_size
    assert size > 2.5e8
    plant(folder, [12])
    steered(llama, tiny.dictionary(SITE), steer.Clamp(1, 1.0))
    before = anonymous_memory()
    sae = catalogue.load(folder)
    sae = replace(sae, config=replace(sae.config, hookpoint=SITE))
    steered(llama, sae, steer.Clamp(12, 5.0))
    assert anonymous_memory() - before < size / 8
