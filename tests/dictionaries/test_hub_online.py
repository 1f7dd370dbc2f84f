"""Dictionaries from a hub that is really asked: fetched, taken up again, and then without it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from dictionaries import catalogue
from dictionaries.beside.labels import Label, Labels
from dictionaries.dictionary import Dictionary
from tests.support.hub_server import Hub, serve

Make = Callable[..., Dictionary]
CODE = """
import sys
from dictionaries import catalogue
for name in sys.argv[1:]:
    try:
        found = catalogue.load(name)
        print(found.width, found.config.hookpoint, len(found.labels))
    except ValueError as error:
        print(error)
"""
NAME = "hf://org/saes/layer_1"
LARGE = 20 * 2**20
"""Of a file beside the weights: the client writes 10 MiB at a time, and goes on from there."""


def load(home: Path, *names: str, **environment: str) -> list[str]:
    """A line a dictionary, from a process of its own that has this cache."""
    kept = {name: text for name, text in os.environ.items() if not name.startswith("HF_")}
    done = subprocess.run(
        [sys.executable, "-c", CODE, *names],
        env={**kept, "HF_HOME": str(home), "HF_HUB_DISABLE_PROGRESS_BARS": "1", **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.splitlines()


@pytest.fixture
def files(make: Make, tmp_path: Path) -> Path:
    """What the repository holds: a dictionary with a label, and more that nobody asks for."""
    folder = tmp_path / "repo" / "layer_1"
    folder.mkdir(parents=True)
    catalogue.save(make("jumprelu", hookpoint="resid_post.1"), folder)
    Labels([Label(1, "x", "s")]).save(folder)
    (folder / "large.json").write_bytes(b" " * (LARGE - 2) + b"{}")
    (folder / "README.md").write_text("not of use")
    (tmp_path / "repo" / "other.safetensors").write_bytes(b"not asked for")
    return tmp_path / "repo"


def test_fetched_taken_up_again_and_then_offline(make: Make, files: Path, tmp_path: Path) -> None:
    expected = f"{make('jumprelu').width} resid_post.1 1"
    home = tmp_path / "home"
    with serve(Hub("org/saes", files, cut=LARGE * 3 // 4)) as hub:
        wrong = ["hf://org/none", "hf://org/saes@v9", "hf://org/saes/layer_2"]
        loaded = load(home, NAME, *wrong, HF_ENDPOINT=hub.address)
        assert loaded[0] == expected
        assert "there is no repository org/none, or it is not open" in loaded[1]
        assert "org/saes has no revision v9" in loaded[2]
        assert "hf://org/saes/layer_2 holds no weights" in loaded[3]
        parts = [(first, sent) for path, first, sent in hub.served if path.endswith("large.json")]
        (begun, _), (continued, rest) = parts
        assert begun == 0
        assert 0 < continued == LARGE - rest
        names = {path for path, _, _ in hub.served}
        assert not names & {"layer_1/README.md", "other.safetensors"}
        hub.served.clear()
        assert load(home, f"{NAME}@main", HF_ENDPOINT=hub.address) == [expected]
        assert not hub.served
    assert load(home, NAME, HF_HUB_OFFLINE="1") == [expected]
    (unreached,) = load(tmp_path / "empty", NAME, HF_ENDPOINT=hub.address)
    assert (
        unreached == f"{NAME} is not in the cache, and the hub can't be reached: check the network"
    )
