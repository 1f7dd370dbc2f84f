"""Minimal sets are minimal, flat ACDC is what its definition says, and areas are areas."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch

from steer.effects.patching.acdc import flat_acdc
from steer.effects.patching.curve import Curve, compare_areas, default_counts
from steer.effects.patching.minimal_set import minimal_set
from steer.effects.patching.patching import (
    Patchable,
    against_null,
    faithfulness,
    patch_curve,
    prompt_pairs,
    rank,
    set_norms,
    set_values,
)
from steer.effects.patching.ranking import left_out
from steer.errors import SteerError
from tests.support import tiny
from tests.support.patched_pairs import BASES, METRIC, TARGETS, double, linear, pairs


def few(error: str = "keep") -> tuple[Patchable, ...]:
    """Only one position is patched, so that few nodes differ."""
    return prompt_pairs(
        double("llama"), BASES, TARGETS, tiny.dictionary(), positions=1, error=error
    )


def kl_of(given: Sequence[Patchable], members: Sequence[int]) -> float:
    return set_values(given, [members]).mean().item()


@pytest.mark.parametrize("error", ["keep", "patch"])
def test_flat_acdc_is_one_candidate_after_the_other(error: str) -> None:
    given, taus = few(error), [1e-4, 1e-2, 0.03, 10.0]
    acdc = flat_acdc(given, taus=taus, seed=4)
    generator = torch.Generator().manual_seed(4)
    kept = sorted({node for pair in given for node in pair.nodes})
    for place, tau in enumerate(taus):
        order = [kept[i] for i in torch.randperm(len(kept), generator=generator).tolist()]
        for node in order:
            rest = [each for each in kept if each != node]
            if kl_of(given, rest) - kl_of(given, kept) < tau:
                kept = rest
        assert acdc.sets[place] == tuple(kept)
    assert 0 < acdc.counts[1] < acdc.counts[0]
    assert acdc.counts[-1] == 0


def test_what_acdc_records_is_of_the_accepted_set() -> None:
    given = few()
    acdc = flat_acdc(given, taus=[1e-3, 1e-2])
    for place, members in enumerate(acdc.sets):
        assert torch.allclose(acdc.kl[place], set_values(given, [members])[0], atol=1e-9)
        assert torch.equal(acdc.norm[place], set_norms(given, [members])[0])
    assert list(acdc.frame["count"]) == list(acdc.counts)
    assert acdc.curve.counts == tuple(sorted(set(acdc.counts)))


@pytest.mark.parametrize("goal", [{"kl": 0.2}, {"faithfulness": 0.5, "metric": METRIC}])
def test_a_minimal_set_reaches_its_goal_and_no_smaller_one_does(goal: dict[str, object]) -> None:
    given = pairs(error="patch")

    def reaches(members: Sequence[int]) -> bool:
        if "kl" in goal:
            return kl_of(given, members) <= 0.2
        return faithfulness(given, members, METRIC).mean >= 0.5

    order = rank(given, "ig", metric="kl" if "kl" in goal else METRIC)
    unpruned = minimal_set(given, order, prune=False, **goal)  # type: ignore[arg-type]
    assert unpruned.nodes == tuple(order[: unpruned.prefix])
    assert reaches(unpruned.nodes)
    assert not reaches(unpruned.nodes[:-1])
    minimal = minimal_set(given, **goal)  # type: ignore[arg-type]
    assert set(minimal.nodes) <= set(order[: minimal.prefix])
    assert reaches(minimal.nodes)
    for node in minimal.nodes:
        assert not reaches([each for each in minimal.nodes if each != node])
    assert len(minimal.without) == len(minimal.nodes)
    assert minimal.to_dict()["goal"] == minimal.goal


@pytest.mark.parametrize("share", [0.05, 0.3, 0.8])
@pytest.mark.parametrize("ranking", ["ig", "random"])
def test_leaving_out_many_at_once_ends_where_none_can_be(ranking: str, share: float) -> None:
    """Also from a bad ranking, whose prefix is long; and in far fewer runs than one by one."""
    given = pairs(error="patch")
    goal = share * kl_of(given, [])
    minimal = minimal_set(given, ranking, kl=goal)
    assert kl_of(given, minimal.nodes) == pytest.approx(minimal.value.mean)
    assert minimal.value.mean <= goal
    without = [kl_of(given, [n for n in minimal.nodes if n != out]) for out in minimal.nodes]
    assert min(without, default=1.0) > goal
    assert list(minimal.without) == pytest.approx(without)
    assert len(minimal.nodes) <= minimal.prefix
    if minimal.prefix > 2 * len(minimal.nodes) + 20:
        assert minimal.measured < sum(range(len(minimal.nodes), minimal.prefix + 1)) / 2


@pytest.mark.parametrize("null", [False, True])
def test_the_estimate_of_leaving_out_is_exact_where_all_is_linear(null: bool) -> None:
    model, dictionary = linear("llama"), tiny.dictionary("resid_post.2")
    given = (
        against_null(model, BASES, dictionary, error="patch")
        if null
        else prompt_pairs(model, BASES, TARGETS, dictionary, error="patch")
    )
    order = rank(given, "norm")
    nodes = order[: len(order) // 2]
    whole, *rest = set_values(
        given, [nodes, *([n for n in nodes if n != out] for out in nodes)], METRIC
    ).mean(1)
    assert torch.allclose(left_out(given, nodes, METRIC), torch.stack(rest) - whole, atol=1e-9)


def test_it_says_how_far_it_is() -> None:
    told: list[tuple[str, int, int]] = []
    minimal = minimal_set(pairs(error="patch"), kl=0.2, progress=lambda *each: told.append(each))
    assert [done for _, done, _ in told] == sorted(done for _, done, _ in told)
    assert told[-1][1:] == (minimal.prefix, minimal.prefix)
    assert f"{len(minimal.nodes)} of {minimal.prefix} left" in told[-1][0]


def test_acdc_says_how_far_it_is() -> None:
    told: list[tuple[str, int, int]] = []
    acdc = flat_acdc(few(), taus=[1e-3, 1e-2], progress=lambda *each: told.append(each))
    shares = [done for _, done, _ in told]
    assert shares == sorted(shares)
    assert told[-1][1] == told[-1][2]
    assert f"{acdc.counts[-1]} left" in told[-1][0]
    assert len(told) > 2  # within a threshold too


def test_goals_out_of_reach_and_missing_goals() -> None:
    given = few()
    with pytest.raises(SteerError, match=r"not reached by any of .* all together"):
        minimal_set(given, kl=1e-9)
    with pytest.raises(SteerError, match="give one goal"):
        minimal_set(given)
    with pytest.raises(SteerError, match="give one goal"):
        minimal_set(given, kl=0.1, faithfulness=0.9)


def curve(counts: tuple[int, ...], value: list[list[float]], norm: list[list[float]]) -> Curve:
    heights, sizes = (torch.tensor(each, dtype=torch.float64) for each in (value, norm))
    return Curve(counts, heights, sizes, "d", "given", "kl", "keep")


def test_areas_of_straight_lines() -> None:
    given = curve((0, 2, 4), [[4.0, 2.0], [2.0, 2.0], [0.0, 2.0]], [[0, 0], [1, 2], [2, 3]])
    assert given.areas().tolist() == [2.0, 2.0]
    assert given.areas(upto=2).tolist() == [3.0, 2.0]
    assert given.areas(upto=8).tolist() == [1.0, 2.0]  # beyond its end it keeps its height
    assert given.areas("norm", 1).tolist() == [3.0, 2.0]
    assert given.area().mean == 2
    lower = curve((0, 4), [[4.0, 1.0], [0.0, 1.0]], [[0, 0], [2, 2]])
    assert compare_areas(lower, given).mean == pytest.approx(-0.5)
    with pytest.raises(SteerError, match="allowed: count, norm"):
        given.areas("size")
    with pytest.raises(SteerError, match="pairs"):
        compare_areas(given, curve((0, 1), [[1.0], [1.0]], [[0], [1]]))


def test_default_counts_grow_and_end_at_all() -> None:
    counts = default_counts(700)
    assert (counts[0], counts[1], counts[-1]) == (0, 1, 700)
    assert list(counts) == sorted(set(counts))
    assert len(counts) <= 25
    assert default_counts(0) == (0,)
    assert default_counts(1) == (0, 1)


def test_a_curve_is_plain_data() -> None:
    data = patch_curve(few(), "norm", counts=[0, 2]).to_dict()
    assert [point["count"] for point in data["points"]] == [0, 2]
    assert data["area"]["mean"] > 0
