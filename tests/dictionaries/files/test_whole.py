"""Files that are written whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import steer
from dictionaries.errors import SteerError
from dictionaries.files.tensors import save_tensors
from dictionaries.files.whole import in_one_move, write_whole
from steer.disk.ledger import Ledger


@pytest.fixture
def full(tmp_path: Path) -> Iterator[Path]:
    """A folder on a disk of 128 KiB."""
    folder = tmp_path / "full"
    folder.mkdir()
    if os.system(f"mount -t tmpfs -o size=128k tmpfs {folder} 2>/dev/null"):
        pytest.skip("mounting a small disk is not allowed here")
    yield folder
    os.system(f"umount {folder}")


def test_what_stood_there_stays_if_the_writing_fails(tmp_path: Path) -> None:
    file = tmp_path / "edit.json"
    file.write_text("before")

    def half() -> None:
        with in_one_move(file) as scratch:
            scratch.write_text("half")
            raise KeyError

    with pytest.raises(KeyError):
        half()
    assert (file.read_text(), [path.name for path in tmp_path.iterdir()]) == ("before", [file.name])


def test_rights_and_links_stay(tmp_path: Path) -> None:
    file, link = tmp_path / "real.json", tmp_path / "link.json"
    file.write_text("before")
    file.chmod(0o640)
    link.symlink_to(file)
    write_whole(link, "after")
    assert link.is_symlink()
    assert (file.read_text(), file.stat().st_mode & 0o777) == ("after", 0o640)
    mask = os.umask(0o027)
    try:
        write_whole(tmp_path / "new.json", "text")
    finally:
        os.umask(mask)
    assert (tmp_path / "new.json").stat().st_mode & 0o777 == 0o640


def test_a_pipe_is_written_to() -> None:
    reader, writer = os.pipe()
    write_whole(Path(f"/dev/fd/{writer}"), "text")
    os.close(writer)
    with os.fdopen(reader) as file:
        assert file.read() == "text"


def test_a_full_disk_is_named_and_takes_nothing_away(full: Path) -> None:
    edit = steer.Intervention("d", [steer.Clamp(5, 1.0)])
    edit.save(full / "edit.json")
    (full / "rest").write_bytes(bytes(100_000))
    many = steer.Intervention("d", [steer.Clamp(number, 1.0) for number in range(4_000)])
    with pytest.raises(SteerError, match=r"edit\.json can't be written: no space is left"):
        many.save(full / "edit.json")
    assert steer.Intervention.load(full / "edit.json") == edit
    with pytest.raises(SteerError, match="no space is left"):
        save_tensors({"rows": torch.zeros(100, 500)}, full / "rows.safetensors")
    assert sorted(path.name for path in full.iterdir()) == ["edit.json", "rest"]


def test_a_ledger_on_a_full_disk_keeps_what_is_finished(full: Path) -> None:
    ledger = Ledger(full / "rows.jsonl", {"job": "sweep"})
    ledger.read()
    ledger.append(("one", 0, 0), [{"effect": 1.0}])
    (full / "rest").write_bytes(bytes(100_000))
    long = [{"effect": 1.0}] * 10_000
    with pytest.raises(SteerError, match=r"rows\.jsonl can't be written: no space .* goes on"):
        ledger.append(("one", 0, 1), long)
    (full / "rest").unlink()
    assert ledger.read().units == {("one", 0, 0): [{"effect": 1.0}]}
    ledger.append(("one", 0, 1), [{"effect": 2.0}])
    assert len(ledger.read().units) == 2
