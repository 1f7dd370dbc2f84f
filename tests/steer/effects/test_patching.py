"""O17 to O20: patched sets against a whole forward pass with x written out by hand."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import Tensor

import steer
from dictionaries import baselines
from dictionaries.dictionary import Dictionary
from steer.effects.metric import LogitDifference, Loss
from steer.effects.patching.patching import (
    ERROR,
    against_null,
    completeness,
    faithfulness,
    node_effects,
    patch_curve,
    prompt_pairs,
    rank,
    scores,
    set_values,
)
from steer.errors import InterventionError, PromptError, SteerError
from steer.lm.passes import plain
from steer.maths.statistics import ratio_interval
from steer.splice import passes
from tests.support import tiny
from tests.support.patched_pairs import BASES, METRIC, TARGETS, double, pairs

FAMILIES = ("gpt2", "llama", "gemma2", "gpt_neox")


def at_site(model: steer.Model, dictionary: Dictionary, text: str) -> tuple[Tensor, Tensor, Tensor]:
    """x, codes and error of a text, from the dictionary itself; all fp64."""
    ours = dictionary.to(dtype=torch.float64)
    ids, mask = model.tokenize([text])
    (x,) = model.collect(ids, mask, ["resid_post.1"]).values()
    codes, norm = ours.encode(x[0])
    codes = codes if norm.scale is None else codes * norm.scale
    return x[0], codes, x[0] - ours.reconstruct(x[0])


def logits_with(model: steer.Model, text: str, x: Tensor) -> Tensor:
    """Last logits [V] of a whole forward pass with x [s, d] in place of resid_post.1."""
    ids, mask = model.tokenize([text])
    return plain.replace(model.nn, ids, mask, model.site("resid_post.1"), lambda _: x)[0, -1]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("normalisation", ["none", "layer_norm"])
def test_a_patched_set_is_x_plus_the_difference_of_its_features(
    family: str, normalisation: str
) -> None:
    model, dictionary = double(family), tiny.dictionary(normalisation=normalisation)
    chosen = [1, 4, 9, 20, 33]
    for pair in prompt_pairs(model, BASES, TARGETS, dictionary):
        (x, before, _), (_, after, _) = (
            at_site(model, dictionary, text) for text in (pair.base, pair.target)
        )
        patched = x + (after - before)[:, chosen] @ dictionary.W_dec[chosen].double()
        assert torch.allclose(
            pair.logits([chosen])[0], logits_with(model, pair.base, patched), atol=1e-6
        )
        assert pair.norms([chosen])[0].item() == pytest.approx(
            (patched - x).norm(dim=-1).mean().item()
        )


@pytest.mark.parametrize("family", FAMILIES)
def test_no_node_is_the_base_and_all_with_the_error_are_the_target(family: str) -> None:
    model = double(family)
    for pair in pairs(family, "patch"):
        none, every = pair.logits([(), pair.nodes])
        base, target = (
            passes.logits(model.nn, ids, model.span(ids, torch.ones_like(ids)), [])[0][0, -1]
            for ids in (model.tokenize([text])[0] for text in (pair.base, pair.target))
        )
        assert torch.equal(none, pair.clean.logits[-1])
        assert torch.allclose(none, base, atol=1e-6)
        assert torch.allclose(every, target, atol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_all_features_without_the_error_miss_exactly_the_error(family: str) -> None:
    model, dictionary = double(family), tiny.dictionary()
    for pair in pairs(family):
        (_, _, error), (x, _, other) = (
            at_site(model, dictionary, text) for text in (pair.base, pair.target)
        )
        expected = logits_with(model, pair.base, x - (other - error))
        assert torch.allclose(pair.logits([pair.nodes])[0], expected, atol=1e-6)
        assert not torch.allclose(expected, pair.goal, atol=1e-3)


def test_a_prompt_patched_with_itself_does_nothing() -> None:
    for error in ("keep", "patch"):
        for pair in prompt_pairs(double("llama"), BASES, BASES, tiny.dictionary(), error=error):
            assert pair.features == ()
            none, every = pair.logits([(), (*range(48), *pair.nodes)])
            assert torch.equal(none, every)
            assert all(row["effect"] == 0 for row in node_effects([pair]).rows)


def test_positions_before_the_first_different_token_are_left_alone() -> None:
    for pair in pairs():
        assert not pair.moved[0].any()
        assert pair.moved[1].any()


@pytest.mark.parametrize("error", ["keep", "patch"])
@pytest.mark.parametrize("metric", ["kl", METRIC], ids=["kl", "difference"])
def test_faithfulness_is_1_for_all_and_0_for_none(
    error: str, metric: str | LogitDifference
) -> None:
    given = pairs(error=error)
    nodes = sorted({node for pair in given for node in pair.nodes})
    assert faithfulness(given, nodes, metric).mean == pytest.approx(1)
    assert faithfulness(given, [], metric).mean == pytest.approx(0)
    assert completeness(given, nodes, metric).mean == pytest.approx(0)
    assert completeness(given, [], metric).mean == pytest.approx(1)
    part = nodes[::2]
    none, some, every = set_values(given, [(), part, nodes], metric).mean(1)
    share = faithfulness(given, part, metric)
    assert share.mean == pytest.approx(((some - none) / (every - none)).item())
    assert share.n == len(given)


def test_faithfulness_says_when_there_is_nothing_to_divide_by() -> None:
    same = prompt_pairs(double("llama"), BASES, BASES, tiny.dictionary())
    with pytest.raises(SteerError, match="a share of that says nothing"):
        faithfulness(same, [1, 2])


@pytest.mark.parametrize("null", ["mean", "zero"])
def test_a_null_run_has_every_feature_at_its_null(null: str) -> None:
    model, dictionary = double("llama"), tiny.dictionary()
    (pair,) = against_null(model, TARGETS[0], dictionary, null=null, error="keep")
    x, codes, error = at_site(model, dictionary, TARGETS[0])
    statistics = dictionary.statistics
    assert statistics is not None
    mean = (statistics.mean * statistics.density).double() if null == "mean" else 0.0
    chosen = [2, 7, 30]
    values = torch.zeros_like(codes) + mean
    values[:, chosen] = codes[:, chosen]
    expected = dictionary.to(dtype=torch.float64).decode(values) + error
    expected[0] = x[0]
    assert torch.allclose(
        pair.logits([chosen])[0], logits_with(model, TARGETS[0], expected), atol=1e-6
    )
    assert torch.equal(pair.logits([pair.nodes])[0], pair.goal)


def test_a_null_run_with_its_error_patched_too_is_the_bias_alone() -> None:
    model, dictionary = double("llama"), tiny.dictionary()
    (pair,) = against_null(model, TARGETS[0], dictionary, null="zero", error="patch")
    x, _, _ = at_site(model, dictionary, TARGETS[0])
    expected = dictionary.b_dec.double().expand_as(x).clone()
    expected[0] = x[0]
    assert torch.allclose(pair.logits([()])[0], logits_with(model, TARGETS[0], expected), atol=1e-6)
    assert torch.equal(pair.logits([pair.nodes])[0], pair.goal)
    assert faithfulness([pair], pair.nodes).mean == pytest.approx(1)


def test_kl_is_of_the_edited_run_from_the_target() -> None:
    for pair in pairs():
        (edited,) = pair.logits([pair.nodes[:5]])
        q, p = (each.log_softmax(-1) for each in (edited, pair.goal))
        assert pair.values([pair.nodes[:5]], "kl")[0].item() == pytest.approx(
            (q.exp() * (q - p)).sum().item()
        )
        assert (pair.values([(node,) for node in pair.nodes], "kl") >= -1e-7).all()


def test_single_nodes_are_measured_exactly() -> None:
    given = pairs(error="patch")
    table = node_effects(given, METRIC)
    assert {row["feature"] for row in table.rows if row["prompt"] == 0} == set(given[0].nodes)
    for row in table.rows[::9]:
        pair = given[row["prompt"]]
        one, none = (logits[5] - logits[6] for logits in pair.logits([(row["feature"],), ()]))
        assert row["effect"] == pytest.approx((one - none).item(), abs=1e-9)
    assert ERROR in table.features


def test_rankings_put_what_matters_first() -> None:
    given = pairs()
    exact = scores(given, "exact")
    for method in ("ig", "atp"):
        score_of = scores(given, method)
        nodes = sorted(exact)
        a, b = (torch.tensor([each[node] for node in nodes]) for each in (exact, score_of))
        assert torch.corrcoef(torch.stack([a, b]))[0, 1] > 0.6
    assert exact[rank(given, "exact")[0]] == max(exact.values())
    assert rank(given, "random", seed=1) == rank(given, "random", seed=1)
    assert sorted(rank(given, "random")) == nodes


def test_gradients_of_a_complete_path_add_up() -> None:
    """The sum over all nodes with the error tends to the change from base to target."""
    (pair,) = pairs(error="patch")[:1]
    total = sum(scores([pair], "ig", metric=METRIC, steps=60).values())
    none, every = pair.values([(), pair.nodes], METRIC)
    assert total == pytest.approx(abs((every - none).item()), rel=0.01)


def test_a_curve_is_the_ranking_set_by_set() -> None:
    given = pairs()
    order = rank(given)
    curve = patch_curve(given, order, counts=[0, 3, 10])
    for place, count in enumerate(curve.counts):
        for number, pair in enumerate(given):
            alone = pair.values([order[:count]], "kl")[0].item()
            assert curve.value[place, number].item() == pytest.approx(alone, abs=1e-9)
    own = patch_curve(given, [rank([pair]) for pair in given], counts=[3])
    assert own.value.shape == (1, 2)
    assert list(curve.frame["count"]) == [0, 3, 10]


@pytest.mark.parametrize(
    "make",
    [
        partial(baselines.neurons, tiny.D),
        partial(baselines.random_directions, tiny.D, 40),
        lambda **about: baselines.pca(torch.randn(99, tiny.D), **about),
    ],
)
def test_any_dictionary_gives_a_curve(make: partial[Dictionary]) -> None:
    given = prompt_pairs(double("llama"), BASES, TARGETS, make(hookpoint="resid_post.1"))
    curve = patch_curve(given, "norm", counts=[0, 5, 1000])
    reference = pairs()
    assert torch.allclose(curve.value[0], patch_curve(reference, [], counts=[0]).value[0])


def test_half_precision_changes_no_more_than_its_rounding() -> None:
    model = tiny.tiny_model("llama", torch.bfloat16)
    for pair in prompt_pairs(model, BASES, TARGETS, tiny.dictionary(), error="patch"):
        none, every = pair.logits([(), pair.nodes])
        assert torch.equal(none, pair.clean.logits[-1])
        assert (every - pair.goal).norm() < 0.05 * pair.goal.norm()


def test_bad_input() -> None:
    model, dictionary = double("llama"), tiny.dictionary(with_statistics=False)
    with pytest.raises(PromptError, match="match position by position"):
        prompt_pairs(model, "w3 w4", "w3 w4 w5", dictionary)
    with pytest.raises(PromptError, match="one of each a pair"):
        prompt_pairs(model, ["w3"], ["w4", "w5"], dictionary)
    with pytest.raises(SteerError, match="allowed: keep, patch"):
        prompt_pairs(model, "w3", "w4", dictionary, error="drop")
    with pytest.raises(InterventionError, match="means are unknown"):
        against_null(model, "w3 w4", dictionary)
    with pytest.raises(SteerError, match="allowed: mean, zero"):
        against_null(model, "w3 w4", dictionary, null="median")
    given = pairs()
    for sets in ([(48,)], [(ERROR,)], [(-2,)]):
        with pytest.raises(SteerError, match="does not exist"):
            given[0].logits(sets)
    with pytest.raises(SteerError, match="reads every position"):
        given[0].values([()], Loss())
    with pytest.raises(SteerError, match="ranking 'best' is unknown"):
        patch_curve(given, "best")
    with pytest.raises(SteerError, match="no prompt pairs"):
        patch_curve([], "ig")
    with pytest.raises(SteerError, match="give one each"):
        patch_curve(given, [1, 2], metric=[METRIC])


def test_a_ratio_of_means_and_its_interval() -> None:
    below = torch.rand(30, generator=torch.Generator().manual_seed(2)) + 1
    fixed = ratio_interval(2 * below, below)
    assert (fixed.mean, fixed.low, fixed.high) == pytest.approx((2, 2, 2))
    loose = ratio_interval(2 * below + torch.randn(30) / 9, below)
    assert loose.low < loose.mean < loose.high
    assert ratio_interval(below[:1], below[:1]).mean == 1
