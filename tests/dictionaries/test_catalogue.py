"""Names, folders, cards, and the sha256 that cards promise."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from dictionaries import catalogue
from dictionaries.dictionary import Dictionary
from dictionaries.errors import DictionaryError, FormatError

NAME = "tiny/resid_post.2"


@pytest.fixture
def root(make: Callable[..., Dictionary], tmp_path: Path) -> Path:
    """A catalogue of two."""
    for site in ("resid_post.2", "resid_post.3"):
        folder = tmp_path / "tiny" / site
        catalogue.save(make("batchtopk", hookpoint=site), folder, torch.float16)
        digests = {
            path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()
        }
        card = {"name": f"tiny/{site}", "sha256": digests}
        (folder / catalogue.CARD).write_text(json.dumps(card))
    return tmp_path


def set_digests(root: Path, digests: Any) -> None:
    path = root / NAME / catalogue.CARD
    path.write_text(json.dumps(json.loads(path.read_text()) | {"sha256": digests}))


def test_names_and_load(root: Path, x: Tensor) -> None:
    assert catalogue.names(root) == [NAME, "tiny/resid_post.3"]
    dictionary = catalogue.load(NAME, root=root)
    assert (dictionary.name, dictionary.config.hookpoint) == (NAME, "resid_post.2")
    assert dictionary.card == catalogue.read_card(NAME, root)
    assert dictionary.reconstruct(x).isfinite().all()


@pytest.mark.parametrize("as_type", [str, Path])
def test_a_folder_loads_as_well(as_type: type, root: Path) -> None:
    folder = as_type(root / NAME)
    assert catalogue.load(folder, root=root / "nowhere").width == 24
    assert catalogue.load(folder).name == str(folder)


def test_some_features(root: Path) -> None:
    some, whole = catalogue.load(NAME, features=[3], root=root), catalogue.load(NAME, root=root)
    assert some.name == NAME
    assert torch.equal(some.W_enc, whole.W_enc[:, [3]])


@pytest.mark.parametrize("feature", [-1, 24])
def test_features_out_of_range(feature: int, root: Path) -> None:
    with pytest.raises(DictionaryError, match="features 0 to 23"):
        catalogue.load(NAME, features=[feature], root=root)


def test_unknown_names_are_answered_with_near_ones(root: Path) -> None:
    with pytest.raises(DictionaryError, match=r"Did you mean tiny/resid_post.*Names: tiny/resid"):
        catalogue.find("tiny/resid_pots.2", root)
    with pytest.raises(DictionaryError, match="Names: none"):
        catalogue.find("tiny/resid_post.2", root / "nowhere")


@pytest.mark.parametrize("file", ["sae_weights.safetensors", "cfg.json"])
def test_a_changed_file_is_noticed(file: str, root: Path) -> None:
    path = root / NAME / file
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(FormatError, match="sha256"):
        catalogue.load(NAME, root=root)


@pytest.mark.parametrize(
    "digests",
    [["a"], {"../resid_post.3/cfg.json": "0"}, {"/etc/hostname": "0"}, {"gone": "0"}, {"": "0"}],
)
def test_bad_cards(digests: Any, root: Path) -> None:
    set_digests(root, digests)
    with pytest.raises(FormatError, match=r"card\.json"):
        catalogue.load(NAME, root=root)


def test_a_card_need_not_list_digests(root: Path) -> None:
    set_digests(root, {})
    assert catalogue.load(NAME, root=root).width == 24


def test_an_empty_folder_says_what_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"holds nothing; looked for sae_weights\.safetensors"):
        catalogue.load(tmp_path)


@pytest.mark.parametrize("name", catalogue.names())
def test_shipped_dictionaries_are_whole(name: str) -> None:
    card = catalogue.read_card(name)
    assert {"sae_weights.safetensors", "cfg.json"} <= set(card["sha256"])
    dictionary = catalogue.load(name)
    assert card["name"] == name
    assert name.endswith(f"/{dictionary.config.hookpoint}")
