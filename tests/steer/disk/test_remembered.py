"""What is remembered comes back as it was, to the byte, and is made once."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from steer.disk import remembered as store


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("STEER_CACHE", str(tmp_path))
    return tmp_path / "concepts"


def test_it_is_made_once_for_the_same_settings(own_cache: Path) -> None:
    made: list[int] = []

    def make() -> dict[str, object]:
        made.append(1)
        return {"share": 0.1 + 0.2, "texts": ("é", "b"), "none": None}

    first = store.remembered("thing", ["a", 1], make)
    (file,) = own_cache.iterdir()
    before = file.read_bytes()
    assert store.remembered("thing", ["a", 1], make) == first
    assert file.read_bytes() == before
    assert len(made) == 1
    store.remembered("thing", ["a", 2], make)
    assert len(made) == 2


def test_a_damaged_file_is_made_anew(own_cache: Path) -> None:
    store.remembered("thing", "x", lambda: [1])
    (file,) = own_cache.iterdir()
    file.write_text('{"cut sho')
    assert store.remembered("thing", "x", lambda: [2]) == [2]
    assert store.remembered("thing", "x", lambda: [3]) == [2]


def test_tensors_too(own_cache: Path) -> None:
    tensors = {"mean": torch.rand(3, 4), "share": torch.rand(3, 4).T}
    first = store.remembered_tensors("reading", "x", lambda: tensors)
    (file,) = own_cache.iterdir()
    again = store.remembered_tensors("reading", "x", lambda: {})
    for name, tensor in tensors.items():
        assert torch.equal(first[name], tensor)
        assert torch.equal(again[name], tensor)
    file.write_bytes(b"no")
    assert not store.remembered_tensors("reading", "x", lambda: {})
