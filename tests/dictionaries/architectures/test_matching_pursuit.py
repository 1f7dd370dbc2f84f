"""Matching pursuit: what it finds, how it stops, and that it is a dictionary like any other."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import steer
from dictionaries import catalogue
from dictionaries.architectures import MatchingPursuit
from dictionaries.config import DictionaryConfig
from dictionaries.convert import convert
from dictionaries.errors import FormatError, NotSeparableError
from dictionaries.formats import load_folder
from dictionaries.formats.saelens import folder as saelens
from tests.support import GOLDEN, plain, tiny

D, M = 8, 24
FOLDER = GOLDEN / "saelens" / "matching_pursuit"


def pursuit(d: int = D, width: int = M, **options: Any) -> MatchingPursuit:
    generator = torch.Generator().manual_seed(4)
    rows = torch.randn(width, d, generator=generator)
    rows /= rows.norm(dim=-1, keepdim=True)
    return MatchingPursuit(
        rows.T,
        torch.zeros(width),
        rows,
        0.1 * torch.randn(d, generator=generator),
        DictionaryConfig(d, width, "resid_post.1"),
        "tiny",
        **{"steps": 6, "residual_threshold": 0.0, "stops_on_repeat": False, **options},
    )


def by_hand(dictionary: MatchingPursuit, x: Tensor) -> list[float]:
    """One token at a time, in plain Python."""
    left, features = x - dictionary.b_dec, [0.0] * dictionary.width
    for _ in range(dictionary.steps):
        fits = [float(row @ left) for row in dictionary.W_dec]
        best = max(range(len(fits)), key=lambda i: fits[i])
        new = features[best] == 0 and fits[best] > 0
        features[best] += max(fits[best], 0.0)
        left = left - max(fits[best], 0.0) * dictionary.W_dec[best]
        if dictionary.stops_on_repeat and not new:
            break
        if dictionary.residual_threshold and float(left.norm()) < dictionary.residual_threshold:
            break
    return features


@pytest.mark.parametrize("stops_on_repeat", [False, True])
@pytest.mark.parametrize("threshold", [0.0, 1.5])
@pytest.mark.parametrize("steps", [1, 3, 40])
def test_it_is_the_loop(stops_on_repeat: bool, threshold: float, steps: int, x: Tensor) -> None:
    given = pursuit(steps=steps, residual_threshold=threshold, stops_on_repeat=stops_on_repeat)
    expected = torch.tensor([by_hand(given, row) for row in x])
    found = given.encode(x.view(2, 8, D))[0]
    torch.testing.assert_close(found.view(16, M), expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(given.encode(x[3])[0], expected[3], atol=1e-5, rtol=1e-5)


def test_more_steps_leave_less(x: Tensor) -> None:
    left = [(pursuit(steps=n).reconstruct(x) - x).norm() for n in (1, 2, 4, 8, 64)]
    assert left == sorted(left, reverse=True)
    assert left[-1] < 0.3 * left[0]


def test_features_depend_on_each_other() -> None:
    given = pursuit()
    with pytest.raises(NotSeparableError, match="can't be encoded alone"):
        given.restrict([1])
    with pytest.raises(NotSeparableError, match="use encode"):
        given.activate(torch.zeros(M))


@pytest.mark.parametrize("options", [{}, {"residual_threshold": 0.3, "stops_on_repeat": True}])
def test_round_trip(options: dict[str, Any], tmp_path: Path, x: Tensor) -> None:
    given = pursuit(**options)
    catalogue.save(given, tmp_path)
    read = load_folder(tmp_path)
    assert isinstance(read, MatchingPursuit)
    assert torch.equal(read.encode(x)[0], given.encode(x)[0])
    assert torch.equal(read.reconstruct(x), given.reconstruct(x))
    assert read.config.hookpoint == "resid_post.1"


def test_a_bias_that_is_not_subtracted_is_not_added(tmp_path: Path, x: Tensor) -> None:
    given = pursuit()
    catalogue.save(given, tmp_path)
    path = tmp_path / saelens.CONFIG
    path.write_text(
        path.read_text().replace('"apply_b_dec_to_input": true', '"apply_b_dec_to_input": false')
    )
    unbiased = replace(given, b_dec=torch.zeros(D))
    assert torch.equal(load_folder(tmp_path).reconstruct(x), unbiased.reconstruct(x))


@pytest.mark.parametrize("to", ["sparsify", "dictionary_learning"])
def test_others_have_no_such_thing(to: str, tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"has no matching_pursuit|can't be written"):
        convert(FOLDER, tmp_path / "copy", to)
    assert catalogue.load(convert(FOLDER, tmp_path / "copy", "saelens")).width == M


@pytest.mark.parametrize(
    "changes",
    [
        ('"residual_threshold": 0.01', '"residual_threshold": -1'),
        ('"max_iterations": 4', '"max_iterations": 0'),
        ('"d_sae": 24', '"d_sae": 25'),
        ('"normalize_activations": "none"', '"normalize_activations": "expected_average_only_in"'),
    ],
)
def test_bad_configs(changes: tuple[str, str], tmp_path: Path) -> None:
    for path in FOLDER.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    text = (tmp_path / saelens.CONFIG).read_text()
    assert changes[0] in text
    (tmp_path / saelens.CONFIG).write_text(text.replace(*changes))
    with pytest.raises(FormatError):
        load_folder(tmp_path)


def test_a_model_is_steered_with_it(llama: steer.Model) -> None:
    """A clamp moves the residual by (v − f) along the row, f from the whole pursuit."""
    sae = pursuit(tiny.D, tiny.WIDTH)
    feature = tiny.active_features(llama, sae)[0]
    edit = steer.Intervention("tiny", [steer.Clamp(feature, 5.0)])
    with plain.recorded(plain.block(llama.module, 2), "input") as residual:
        llama.generate(tiny.PROMPT, edit, max_new_tokens=1, dictionaries=[sae])
    (edited,), (clean,) = residual
    f = sae.encode(clean)[0][:, feature]
    expected = clean + (5.0 - f)[:, None] * sae.W_dec[feature]
    torch.testing.assert_close(edited, expected, atol=1e-5, rtol=1e-5)
