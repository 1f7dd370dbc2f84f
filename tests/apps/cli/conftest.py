"""A tiny model and what belongs to it, on disk."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest

import steer
from dictionaries import catalogue
from tests.support import tiny


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model, a dictionary of it with and one without statistics, and two recipes."""
    root = tmp_path_factory.mktemp("cli")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tiny.build("llama").save_pretrained(root / "model")
    tiny.tokenizer().save_pretrained(root / "model")
    sae = tiny.dictionary()
    catalogue.save(sae, root / "sae")
    assert sae.statistics is not None
    sae.statistics.save(root / "sae")
    catalogue.save(sae, root / "bare")
    catalogue.save(tiny.dictionary(d=24), root / "narrow")
    (root / "broken.toml").write_text("name = ")
    (root / "unknown.toml").write_text('name = "x"\nsite = ["resid_post.1"]\n')
    (root / "edit.json").write_text(
        steer.Intervention(str(root / "sae"), [steer.Clamp(5, "5x max")]).to_json()
    )
    (root / "broken.json").write_text("{")
    (root / "binary.json").write_bytes(b"\xff\xfe\x00")
    return root


@pytest.fixture
def tiny_options(folder: Path) -> list[str]:
    return ["--model", str(folder / "model"), "--dictionary", str(folder / "sae")]
