"""SAEBench's core metrics: the same figures as sae-bench itself, and the ends of the scale."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
import torch

import steer
from dictionaries.baselines import neurons
from dictionaries.config import DictionaryConfig
from dictionaries.measures.quality import quality
from steer.errors import DictionaryError
from steer.quality.core_metrics import core_metrics, full_check
from steer.quality.core_sums import Sums
from tests.golden import make_sae_bench as golden
from tests.support import tiny

EXPECTED = json.loads(golden.OUT.read_text())
FIGURES = [name for name in EXPECTED if name != "version"]


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    nested = core_metrics(
        tiny.tiny_model("llama"), golden.dictionary(), golden.contexts(), batch=golden.BATCH
    ).to_dict()
    return {name: value for group in nested.values() for name, value in group.items()}


@pytest.mark.parametrize("name", FIGURES)
def test_the_figures_are_those_of_sae_bench(found: dict[str, Any], name: str) -> None:
    assert found[name] == pytest.approx(EXPECTED[name], rel=2e-4, abs=1e-6)


def test_every_figure_of_sae_bench_is_there(found: dict[str, Any]) -> None:
    assert len(FIGURES) == 24
    assert set(FIGURES) <= set(found)


def test_an_exact_reconstruction(llama: steer.Model) -> None:
    same = neurons(tiny.D, hookpoint="resid_post.1")
    metrics = core_metrics(llama, same, golden.contexts())
    assert metrics.kl_div_with_sae == pytest.approx(0, abs=1e-6)
    assert metrics.ce_loss_with_sae == pytest.approx(metrics.ce_loss_without_sae, rel=1e-5)
    for one in ("kl_div_score", "ce_loss_score", "cossim", "l2_ratio"):
        assert getattr(metrics, one) == pytest.approx(1, abs=1e-5)
    assert metrics.relative_reconstruction_bias == pytest.approx(1, abs=1e-5)
    assert metrics.fvu == pytest.approx(0, abs=1e-9)
    assert metrics.l0 == pytest.approx(tiny.D)


def test_writing_zeros_is_ablation(llama: steer.Model) -> None:
    same = neurons(tiny.D, hookpoint="resid_post.1")
    nothing = replace(same, W_dec=torch.zeros_like(same.W_dec))
    metrics = core_metrics(llama, nothing, golden.contexts())
    assert metrics.kl_div_score == pytest.approx(0, abs=1e-6)
    assert metrics.ce_loss_score == pytest.approx(0, abs=1e-6)


def test_fvu_is_that_of_the_dictionaries_card(llama: steer.Model) -> None:
    ids, dictionary = golden.contexts(), golden.dictionary()
    (x,) = llama.collect(ids, torch.ones_like(ids), ["resid_post.1"]).values()
    metrics = core_metrics(llama, dictionary, ids, batch=7)
    card = quality(dictionary, x.flatten(0, 1))
    assert metrics.fvu == pytest.approx(card.fvu, rel=1e-4)
    assert metrics.l0 == pytest.approx(card.l0)
    assert metrics.frac_alive == pytest.approx(1 - card.dead_share)


def test_outliers_are_left_alone(llama: steer.Model) -> None:
    ids = golden.contexts()
    metrics = core_metrics(llama, golden.dictionary(), ids, cutoff=1e9)
    assert metrics.total_tokens_eval_sparsity_variance == len(ids) * (golden.LENGTH - 1)
    assert not metrics.outliers
    with pytest.raises(ZeroDivisionError):  # nothing is replaced, so ablation costs nothing
        core_metrics(llama, golden.dictionary(), ids, cutoff=0.0)


def test_a_full_check_reads_docstrings(llama: steer.Model) -> None:
    metrics = full_check(llama, golden.dictionary(), tokens=512)
    everything = full_check(llama, golden.dictionary(), tokens=512, outliers=True)
    assert everything.total_tokens_eval_sparsity_variance > (
        metrics.total_tokens_eval_sparsity_variance
    )
    assert (metrics.hookpoint, metrics.dictionary) == ("resid_post.1", "tiny")


@pytest.mark.parametrize("site", ["resid_post.1", "attn_out.1"])
def test_activations_that_are_known_need_not_be_read_again(llama: steer.Model, site: str) -> None:
    ids, given = golden.contexts(), golden.dictionary()
    given = replace(given, config=replace(given.config, hookpoint=site))
    (x,) = llama.collect(ids, torch.ones_like(ids), [site]).values()
    anew = core_metrics(llama, given, ids).to_dict()
    known = core_metrics(llama, given, ids, known=x).to_dict()
    assert known.pop("about") == anew.pop("about")
    for group, figures in known.items():
        assert figures == pytest.approx(anew[group], rel=1e-4, abs=1e-6)


def test_progress_reaches_its_ends(llama: steer.Model) -> None:
    seen: dict[str, list[tuple[int, int]]] = {}

    def report(what: str, done: int, total: int) -> None:
        seen.setdefault(what, []).append((done, total))

    full_check(llama, golden.dictionary(), tokens=512, progress=report)
    assert list(seen) == ["reading", "measuring", "comparing rows"]
    for steps in (seen["reading"], seen["measuring"]):
        assert steps == sorted(steps)
        assert steps[-1][0] == steps[-1][1]
        assert len(steps) > 1


def test_a_transcoder_is_refused(llama: steer.Model) -> None:
    base = golden.dictionary()
    config = DictionaryConfig(
        tiny.D, tiny.WIDTH, "mlp_in.1", d_out=tiny.D, hookpoint_out="mlp_out.1"
    )
    with pytest.raises(DictionaryError, match=r"reads mlp_in.1 and writes mlp_out.1"):
        core_metrics(llama, replace(base, config=config), golden.contexts())


def test_a_feature_that_is_only_below_0_is_alive() -> None:
    x = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
    features = torch.tensor([[-2.0, 3.0], [-1.0, 0.0]]).repeat(3, 1)
    sums = Sums(2)
    sums.add(x, features, x)
    figures = sums.result()
    assert figures["frac_alive"] == 1
    assert figures["l0"] == 1.5
    assert figures["l1"] == 3
