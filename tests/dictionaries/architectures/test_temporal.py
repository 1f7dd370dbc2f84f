"""Temporal dictionaries against sae-lens, their laws, and what refuses them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from dictionaries.architectures.temporal import Temporal
from dictionaries.convert import convert
from dictionaries.errors import DictionaryError, FormatError, NotSeparableError
from dictionaries.formats import load_folder
from tests.support import GOLDEN, tiny
from tests.support.tiny_temporal import temporal

FOLDER = GOLDEN / "saelens"
CASES = sorted(
    path.parent.relative_to(FOLDER).as_posix()
    for path in FOLDER.glob("temporal*/**/expected.safetensors")
)
RELEASE = "temporal_release/layer_3/temporal"
every_case = pytest.mark.parametrize("case", CASES)


@every_case
def test_golden(case: str, assert_agrees: Callable[[Tensor, Tensor], None]) -> None:
    expected = load_file(FOLDER / case / "expected.safetensors")
    dictionary = load_folder(FOLDER / case)
    assert isinstance(dictionary, Temporal)
    features, norm = dictionary.encode_texts(expected["x"])
    assert torch.equal(features != 0, expected["features"] != 0)
    assert_agrees(features, expected["features"])
    assert_agrees(dictionary.decode(features, norm), expected["forward"])
    assert_agrees(dictionary.reconstruct_texts(expected["x"]), expected["forward"])
    if "reconstruction" in expected:  # sae-lens's decode leaves the predicted part out
        gap = (expected["forward"] - expected["reconstruction"]).abs().max()
        assert gap > 1e-2


def test_the_release_says_where_it_belongs() -> None:
    config = load_folder(FOLDER / RELEASE).config
    assert (config.hookpoint, config.d_in, config.width) == ("resid_post.3", 8, 24)


@every_case
def test_written_and_read_again(case: str, tmp_path: Path) -> None:
    there = convert(FOLDER / case, tmp_path / "copy", "saelens")
    x = load_file(FOLDER / case / "expected.safetensors")["x"]
    ours, copy = load_folder(FOLDER / case), load_folder(there)
    torch.testing.assert_close(copy.encode_texts(x)[0], ours.encode_texts(x)[0])
    torch.testing.assert_close(copy.reconstruct_texts(x), ours.reconstruct_texts(x))


@every_case
def test_a_token_depends_on_what_is_before_it_and_on_nothing_after(case: str) -> None:
    dictionary = load_folder(FOLDER / case)
    x = torch.randn(1, 7, 8, generator=torch.Generator().manual_seed(0))
    whole = dictionary.reconstruct_texts(x)
    torch.testing.assert_close(dictionary.reconstruct_texts(x[:, :4]), whole[:, :4])
    other = torch.cat([x[:, :1] + 1, x[:, 1:]], dim=1)
    assert (dictionary.reconstruct_texts(other) - whole)[:, 1:].abs().max() > 1e-3


@pytest.mark.parametrize("before", [0, 3])
@pytest.mark.parametrize("after", [0, 2])
def test_padding_changes_nothing(before: int, after: int) -> None:
    dictionary = load_folder(FOLDER / "temporal_untied_relu")
    noise = torch.randn(2, before + 5 + after, 8, generator=torch.Generator().manual_seed(1))
    real = torch.zeros(noise.shape[:2], dtype=torch.bool)
    real[:, before : before + 5] = True
    text = noise[:, before : before + 5]
    padded = dictionary.encode_texts(noise, real)[0]
    assert padded.isfinite().all()
    torch.testing.assert_close(
        padded[:, before : before + 5], dictionary.encode_texts(text)[0], atol=1e-6, rtol=1e-5
    )


def test_tokens_are_not_read_alone() -> None:
    dictionary = temporal()
    for use in (
        lambda: dictionary.encode(torch.zeros(4, tiny.D)),
        lambda: dictionary.reconstruct(torch.zeros(4, tiny.D)),
        lambda: dictionary.restrict([1]),
    ):
        with pytest.raises(NotSeparableError):
            use()


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"heads": 5}, "heads"),
        ({"k": 0}, "k=0"),
        ({"W_Q": torch.zeros(1, 3, 3)}, "W_Q"),
        ({"centre": torch.zeros(3)}, "centre"),
    ],
)
def test_bad_parts(changes: dict[str, Any], match: str) -> None:
    with pytest.raises(DictionaryError, match=match):
        replace(temporal(), **changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"n_heads": 5},
        {"n_attn_layers": 10**9},
        {"bottleneck_factor": 0},
        {"bottleneck_factor": 1000},
        {"kval_topk": 1000},
        {"sae_diff_type": "lista"},
        {"tied_weights": "yes"},
        {"tied_weights": False},
        {"normalize_activations": "constant_scalar_rescale", "activation_normalization_factor": 0},
        {"normalize_activations": "expected_average_only_in", "norm_scaling_factor": None},
        {"d_sae": 10**12},
    ],
)
def test_configs_that_make_no_sense(changes: dict[str, Any], tmp_path: Path) -> None:
    folder = Path(shutil.copytree(FOLDER / "temporal", tmp_path / "spoilt"))
    cfg = json.loads((folder / "cfg.json").read_text()) | changes
    (folder / "cfg.json").write_text(json.dumps(cfg))
    with pytest.raises(FormatError):
        load_folder(folder)
