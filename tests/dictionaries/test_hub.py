"""Addresses of the hub, and dictionaries out of its cache without a network."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import save_file

from dictionaries import catalogue, hub, releases
from dictionaries.dictionary import Dictionary
from dictionaries.errors import DictionaryError, FormatError
from dictionaries.formats import FORMATS, sparsify
from tests.dictionaries.files.test_rows import bytes_read, hole
from tests.support.hub_cache import COMMIT, OLDER, add

REPO = "org/some-saes"
Make = Callable[..., Dictionary]


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty cache; HF_HUB_OFFLINE is set."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    hub.fetch.cache_clear()
    yield tmp_path / "hub"
    hub.fetch.cache_clear()


@pytest.fixture
def saved(make: Make, tmp_path: Path) -> Callable[..., Path]:
    """A folder with a dictionary in it, to be moved into the cache."""

    def save(hookpoint: str = "resid_post.1") -> Path:
        catalogue.save(make("jumprelu", hookpoint=hookpoint), tmp_path / "saved")
        return tmp_path / "saved"

    return save


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("hf://org/repo", hub.Address("org/repo", "")),
        ("hf://org/repo/a/b c/l.safetensors", hub.Address("org/repo", "a/b c/l.safetensors")),
        ("hf://org/repo@v1.0", hub.Address("org/repo", "", "v1.0")),
        ("hf://org/re.po-1/a@refs/pr/3", hub.Address("org/re.po-1", "a", "refs/pr/3")),
        ("hf://org/repo#0", hub.Address("org/repo", "", None, 0)),
        ("hf://org/repo/clt@v1.0#25", hub.Address("org/repo", "clt", "v1.0", 25)),
    ],
)
def test_addresses(text: str, address: hub.Address) -> None:
    assert hub.parse(text) == address


@pytest.mark.parametrize(
    "text",
    [
        "hf://", "hf://org", "hf://org/", "hf:/org/repo", "org/repo", "hf://org/repo@",
        "hf://org/repo//a", "hf://org/repo/", "hf://org/repo/a\\b", "hf://org/repo/a@b@c",
        "hf://org/repo/../other", "hf://org/repo/a/..", "hf://../repo", "hf://org/..",
        "hf://org/repo#", "hf://org/repo#x", "hf://org/repo#1@main", "hf://org/repo/a#b/c",
        "hf://org/repo@..", "hf://org/repo@../../x", "hf://org/repo/a@v/../..",
    ],
)  # fmt: skip
def test_no_addresses(text: str, cache: Path) -> None:
    with pytest.raises(DictionaryError, match=r"expected hf://org/repo/path@revision"):
        hub.parse(text)
    with pytest.raises(DictionaryError):
        catalogue.load(text)


@pytest.mark.parametrize("folder", ["", "layer_1", "layer_1/width_16k/average_l0_72"])
def test_out_of_the_cache(folder: str, cache: Path, saved: Callable[..., Path]) -> None:
    snapshot = add(cache, REPO, saved(), folder)
    name = f"hf://{REPO}/{folder}".rstrip("/")
    dictionary = catalogue.load(name)
    assert hub.fetch(name) == snapshot
    assert (dictionary.name, dictionary.config.hookpoint) == (name, "resid_post.1")
    assert (snapshot / "cfg.json").is_symlink()


def test_one_file(cache: Path, tmp_path: Path) -> None:
    state = {
        "encoder_linear.weight": torch.ones(6, 4),
        "encoder_linear.bias": torch.zeros(6),
        "decoder_linear.weight": torch.ones(4, 6),
        "decoder_linear.bias": torch.zeros(4),
    }
    (tmp_path / "saved").mkdir()
    torch.save(state, tmp_path / "saved" / "Llama-3.1-8B-SAE-l19.pth")
    add(cache, REPO, tmp_path / "saved")
    assert (
        catalogue.load(f"hf://{REPO}/Llama-3.1-8B-SAE-l19.pth").config.hookpoint == "resid_post.19"
    )


@pytest.mark.parametrize("folder", ["", "clt"])
def test_a_block_of_a_folder(folder: str, cache: Path, tmp_path: Path) -> None:
    (tmp_path / "saved").mkdir()
    for layer in (3, 13):
        named = {"W_enc": torch.ones(6, 4), "b_enc": torch.zeros(6), "W_dec": torch.ones(6, 4)}
        named["b_dec"] = torch.full((4,), float(layer))
        save_file(named, tmp_path / "saved" / f"layer_{layer}.safetensors")
    add(cache, REPO, tmp_path / "saved", folder)
    address = f"hf://{REPO}/{folder}".rstrip("/")
    for layer in (3, 13):
        loaded = catalogue.load(f"{address}#{layer}")
        assert (loaded.name, loaded.b_dec[0]) == (f"{address}#{layer}", layer)
    with pytest.raises(DictionaryError, match="not in the cache"):
        catalogue.load(f"{address}#4")


@pytest.mark.parametrize("root", ["", "run"])
def test_a_block_of_a_release_of_folders(
    root: str, cache: Path, make: Make, tmp_path: Path
) -> None:
    for block in (1, 12):
        sparsify.write(make("topk", hookpoint=f"resid_post.{block}"), tmp_path / "saved")
        add(cache, REPO, tmp_path / "saved", f"{root}/layers.{block}".lstrip("/"))
    address = f"hf://{REPO}/{root}".rstrip("/")
    for block in (1, 12):
        loaded = catalogue.load(f"{address}#{block}")
        assert (loaded.name, loaded.config.hookpoint) == (
            f"{address}#{block}",
            f"resid_post.{block}",
        )
    with pytest.raises(DictionaryError, match="not in the cache"):
        catalogue.load(f"{address}#2")


@pytest.mark.parametrize(
    ("address", "wanted", "unwanted"),
    [
        ("hf://o/r#3", ["layers.3/cfg.json", "layers.3.mlp/sae.safetensors", "config.json"],
         ["layers.13/sae.safetensors", "layers.3x/sae.safetensors"]),
        ("hf://o/r/run#3", ["run/h.3/sae.safetensors", "run/config.json"],
         ["layers.3/sae.safetensors", "run/layers.30/sae.safetensors"]),
    ],
)  # fmt: skip
def test_only_the_block_s_folder_is_fetched(
    address: str, wanted: list[str], unwanted: list[str]
) -> None:
    from huggingface_hub.utils import filter_repo_objects

    allowed, ignored = hub._patterns(hub.parse(address))[-1]
    fetched = list(filter_repo_objects([*wanted, *unwanted], allow_patterns=allowed,
                                       ignore_patterns=ignored))  # fmt: skip
    assert fetched == wanted


def test_revisions(cache: Path, saved: Callable[..., Path]) -> None:
    add(cache, REPO, saved("resid_post.1"))
    add(cache, REPO, saved("resid_post.2"), commit=OLDER, ref="v1")
    for revision, site in (("", 1), ("@main", 1), (f"@{COMMIT}", 1), ("@v1", 2), (f"@{OLDER}", 2)):
        loaded = catalogue.load(f"hf://{REPO}{revision}")
        assert loaded.config.hookpoint == f"resid_post.{site}"


def test_labels_lie_in_the_snapshot(cache: Path, saved: Callable[..., Path]) -> None:
    from dictionaries.beside.labels import Label, Labels

    snapshot = add(cache, REPO, saved(), "a")
    Labels([Label(1, "x", "s")]).save(catalogue.find(f"hf://{REPO}/a"))
    assert (snapshot / "labels.jsonl").is_file()
    assert len(catalogue.load(f"hf://{REPO}/a").labels) == 1


@pytest.mark.parametrize(
    "name", [f"hf://{REPO}", f"hf://{REPO}/a@v2", "hf://other/repo", f"hf://{REPO}/b"]
)
def test_absent_while_offline(name: str, cache: Path, saved: Callable[..., Path]) -> None:
    add(cache, REPO, saved(), "a")
    (cache / f"models--{REPO.replace('/', '--')}" / "refs" / "main").write_text(
        COMMIT if name.endswith("/b") else OLDER
    )
    with pytest.raises(DictionaryError, match=r"not in the cache, and HF_HUB_OFFLINE is set"):
        catalogue.load(name)


def test_a_download_that_was_interrupted(cache: Path, saved: Callable[..., Path]) -> None:
    """The config is there and the weights are not: huggingface_hub goes on when it is online."""
    snapshot = add(cache, REPO, saved(), "a")
    (snapshot / "sae_weights.safetensors").unlink()
    with pytest.raises(DictionaryError, match="not in the cache"):
        catalogue.load(f"hf://{REPO}/a")


def test_a_blob_that_is_gone(cache: Path, saved: Callable[..., Path]) -> None:
    snapshot = add(cache, REPO, saved(), "a")
    (snapshot / "cfg.json").resolve().unlink()
    with pytest.raises(FormatError, match=r"cfg\.json"):
        catalogue.load(f"hf://{REPO}/a")


def test_rows_only(cache: Path, tmp_path: Path) -> None:
    add(cache, REPO, hole(tmp_path / "large"), "layer_1")
    name = f"hf://{REPO}/layer_1"
    catalogue.load(name, features=[0])
    before = bytes_read()
    dictionary = catalogue.load(name, features=[7, 16383, 0])
    assert bytes_read() - before < 1_000_000
    assert (dictionary.width, dictionary.config.d_in) == (3, 2304)


def test_the_environment_is_obeyed(saved: Callable[..., Path], tmp_path: Path) -> None:
    """In a process of its own: HF_HOME says where the cache is, HF_HUB_OFFLINE that it is all."""
    add(tmp_path / "home" / "hub", REPO, saved(), "a")
    code = (
        "from dictionaries import catalogue\n"
        f"print(catalogue.load('hf://{REPO}/a').config.hookpoint)\n"
        "try: catalogue.load('hf://org/other')\n"
        "except ValueError as error: print(error)"
    )
    environment = {**os.environ, "HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "1"}
    environment.pop("HF_HUB_CACHE", None)
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    site, error = done.stdout.splitlines()
    assert site == "resid_post.1"
    assert "hf://org/other is not in the cache, and HF_HUB_OFFLINE is set" in error


# -- the catalogue of releases -----------------------------------------------------------------

ADDRESSES = {
    "gemma-scope-res": (
        "hf://google/gemma-scope-2b-pt-res/layer_20/width_16k/average_l0_71",
        {"l0": 71.0},
    ),
    "gemma-scope-transcoders": (
        "hf://google/gemma-scope-2b-pt-transcoders/layer_3/width_16k/average_l0_54@main",
        {"l0": 54.0},
    ),
    "gpt2-small-res-jb": (
        "hf://jbloom/GPT2-Small-SAEs-Reformatted/blocks.8.hook_resid_pre@main",
        {"l0": 60.0, "fvu": pytest.approx(0.1)},
    ),
    "mistral-7b-res-wg": (
        "hf://JoshEngels/Mistral-7B-Residual-Stream-SAEs/mistral_7b_layer_24",
        {"l0": 75, "fvu": pytest.approx(0.28)},
    ),
    "temporal-llama-3.1-8b": (
        "hf://canrager/temporalSAEs/llama-3.1-8B/layer_15/temporal",
        {"l0": 256},
    ),
    "gemma-scope-2-clt": (
        "hf://google/gemma-scope-2-1b-pt/clt/width_262k_l0_medium_affine@main#5",
        {},
    ),
    "qwen-scope": ("hf://Qwen/SAE-Res-Qwen3-8B-Base-W64K-L0_50/layer12.sae.pt", {"l0": 50.0}),
    "llama-scope": (
        "hf://fnlp/Llama3_1-8B-Base-LXR-8x/Llama3_1-8B-Base-L15R-8x/checkpoints/final.safetensors",
        {"l0": 50},
    ),
    "goodfire-llama-3.1-8b": ("hf://Goodfire/Llama-3.1-8B-Instruct-SAE-l19", {"l0": 91}),
    "arditi-qwen2.5-7b": (
        "hf://andyrdt/saes-qwen2.5-7b-instruct/resid_post_layer_11/trainer_1",
        {},
    ),
}


@pytest.mark.parametrize("name", ADDRESSES)
def test_releases_by_address(name: str) -> None:
    address, figures = ADDRESSES[name]
    assert releases.release_of(address) == releases.RELEASES[name]
    assert releases.figures(address) == figures


@pytest.mark.parametrize("name", releases.RELEASES)
def test_every_release_is_an_address_of_a_known_format(name: str) -> None:
    release = releases.RELEASES[name]
    assert hub.parse(release.address.replace("{", "").replace("}", "")).repo.count("/") == 1
    assert release.format in FORMATS


@pytest.mark.parametrize(
    "address",
    [
        "hf://google/gemma-scope-2b-pt-res-other/layer_1/width_16k/average_l0_7",
        "hf://other/gemma-scope-2b-pt-res/layer_20/width_16k/average_l0_71",
        "hf://Goodfire/Llama-3.1-8B-Instruct-SAE-l190",
        "smollm2-135m/resid_post.20",
        "",
    ],
)
def test_other_addresses_are_of_no_release(address: str) -> None:
    assert releases.release_of(address) is None
    assert releases.figures(address) == {}


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("gpt2-small-res-jb", "is a known release: its dictionaries are at hf://jbloom/GPT2-Small"),
        ("gpt2-small-res-jb/resid_pre.8", "gpt2-small-res-jb is a known release: its dictionaries"),
        (
            "jbloom/GPT2-Small-SAEs-Reformatted",
            r"put hf:// before it: hf://jbloom/GPT2-Small-SAEs-Reformatted, such as hf://jbloom/GPT",
        ),
        ("Goodfire/Llama-3.1-8B-Instruct-SAE-l19", r"put hf:// before it: hf://Goodfire/\S+-l19\."),
        ("somebody/some-saes/layer_3@main#5", r"put hf:// before it: hf://somebody/.*#5\. Names:"),
        ("smollm2-135m/resid_post.21", r"Did you mean smollm2-135m/resid_post\.20 or smoll"),
        ("./no/such/folder", r"nor a folder\. "),
        ("quite another", r"nor a folder\. Names:"),
    ],
)
def test_what_a_name_could_have_meant(name: str, said: str) -> None:
    with pytest.raises(DictionaryError, match=said) as error:
        catalogue.load(name)
    if "hf://" in said:
        assert "Did you mean" not in str(error.value)


def test_a_release_of_the_cache_says_its_site(cache: Path, make: Make, tmp_path: Path) -> None:
    import numpy as np

    given = make("jumprelu")
    (tmp_path / "npz").mkdir()
    arrays = {name: getattr(given, name).numpy() for name in given.tensor_names()}
    np.savez(tmp_path / "npz" / "params.npz", **arrays)
    folder = "layer_20/width_16k/average_l0_71"
    add(cache, "google/gemma-scope-2b-pt-att", tmp_path / "npz", folder)
    dictionary = catalogue.load(f"hf://google/gemma-scope-2b-pt-att/{folder}")
    assert dictionary.config.hookpoint == "attn_z.20"
    assert dictionary.config.model == "google/gemma-2-2b"
    assert json.dumps(releases.figures(dictionary.name)) == '{"l0": 71.0}'
