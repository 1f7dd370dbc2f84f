"""Harvested activations, and what a splice costs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import steer
from dictionaries.architectures import ReLU
from dictionaries.config import DictionaryConfig
from dictionaries.training.activations import ActivationStore, Contexts
from steer.features.harvest import harvest
from steer.maths import metrics
from steer.quality.splice_loss import splice_loss
from tests.support import plain, tiny

SITES = {"resid_post.1": tiny.D, "mlp_out.0": tiny.D}


def tokens(n: int = 7, length: int = 6) -> Tensor:
    return torch.randint(
        3, tiny.VOCABULARY, (n, length), generator=torch.Generator().manual_seed(0)
    )


def contexts() -> Contexts:
    ids = tokens().int()
    return Contexts(
        ids, torch.zeros(7, dtype=torch.uint8), torch.zeros(7, dtype=torch.bool), ("x",)
    )


def test_harvest(model: steer.Model, untouched: Any, tmp_path: Path) -> None:
    store = ActivationStore(tmp_path, SITES)
    harvest(model, contexts(), store, batch=3)
    with plain.recorded(plain.block(untouched, 2), "input") as residual:
        plain.logits(untouched, tokens())
    expected = residual[0].to(torch.bfloat16).float()
    torch.testing.assert_close(store.mapped("resid_post.1").float(), expected, atol=0.05, rtol=0.02)
    assert store.done == 7


def test_harvest_is_taken_up(llama: steer.Model, tmp_path: Path) -> None:
    def interrupt(what: str, done: int, total: int) -> None:
        raise KeyboardInterrupt

    store = ActivationStore(tmp_path / "interrupted", SITES)
    with pytest.raises(KeyboardInterrupt):
        harvest(llama, contexts(), store, batch=3, progress=interrupt)
    assert store.done == 3
    seen: list[int] = []
    harvest(llama, contexts(), store, batch=3, progress=lambda *at: seen.append(at[1]))
    assert seen == [6, 7]
    whole = ActivationStore(tmp_path / "whole", SITES)
    harvest(llama, contexts(), whole, batch=3)
    for site in SITES:
        assert torch.equal(store.mapped(site), whole.mapped(site))


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
    found = splice_loss(llama, both_signs(0.0), tokens(), torch.zeros(tiny.D), cutoff=1e-3)
    assert found.clean == found.spliced == found.zero_ablated


def test_a_dictionary_of_another_site(llama: steer.Model) -> None:
    sae = both_signs()
    other = replace(sae, config=replace(sae.config, hookpoint="resid_post.9"))
    with pytest.raises(steer.HookpointError, match="blocks 0 to 2"):
        splice_loss(llama, other, tokens(), torch.zeros(tiny.D), cutoff=1e9)
