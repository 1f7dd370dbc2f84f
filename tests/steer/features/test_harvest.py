"""What a splice costs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

import steer
from dictionaries.architectures import ReLU
from dictionaries.config import DictionaryConfig
from steer.maths import metrics
from steer.quality.splice_loss import splice_loss
from tests.support import plain, tiny


def tokens(n: int = 7, length: int = 6) -> Tensor:
    return torch.randint(
        3, tiny.VOCABULARY, (n, length), generator=torch.Generator().manual_seed(0)
    )


def both_signs(gain: float = 1.0) -> ReLU:
    """Features ±x of every axis, which reconstruct gain · x."""
    eye = torch.eye(tiny.D)
    rows = torch.cat([eye, -eye])
    config = DictionaryConfig(tiny.D, 2 * tiny.D, "resid_post.1")
    return ReLU(rows.T, torch.zeros(2 * tiny.D), gain * rows, torch.zeros(tiny.D), config)


def test_o21_what_the_splice_costs(model: steer.Model, untouched: Any) -> None:
    ids, mean = tokens(), torch.zeros(tiny.D)
    clean = metrics.cross_entropy(plain.logits(untouched, ids), ids).mean().item()
    same = splice_loss(model, both_signs(), ids, mean, cutoff=1e9)
    assert same.clean == pytest.approx(clean, abs=1e-5)
    assert same.delta == pytest.approx(0, abs=1e-4)
    assert same.recovered == pytest.approx(1, abs=1e-3)
    assert same.tokens == 7 * 5
    nothing = splice_loss(model, both_signs(0.0), ids, mean, cutoff=1e9)
    assert nothing.spliced == pytest.approx(nothing.zero_ablated, abs=1e-5)
    assert nothing.spliced == pytest.approx(nothing.mean_ablated, abs=1e-5)
    assert nothing.recovered == pytest.approx(0, abs=1e-5)


def test_outliers_and_first_tokens_are_left_as_they_are(llama: steer.Model) -> None:
    loss = splice_loss(llama, both_signs(0.0), tokens(), torch.zeros(tiny.D), cutoff=1e-3)
    assert loss.clean == loss.spliced == loss.zero_ablated


def test_a_dictionary_of_another_site(llama: steer.Model) -> None:
    sae = both_signs()
    other = replace(sae, config=replace(sae.config, hookpoint="resid_post.9"))
    with pytest.raises(steer.HookpointError, match="blocks 0 to 2"):
        splice_loss(llama, other, tokens(), torch.zeros(tiny.D), cutoff=1e9)
