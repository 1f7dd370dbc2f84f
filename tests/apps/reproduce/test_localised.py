"""Localisation (E3) and feature cards (E4) on tiny random models."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

import steer
from apps.reproduce.e3_localisation import experiment as e3
from apps.reproduce.e3_localisation import table as localised
from apps.reproduce.e3_localisation.claims import UPTO
from apps.reproduce.e3_localisation.localised import Localised
from apps.reproduce.e4_cards import experiment as e4
from apps.reproduce.e4_cards.detectors import Detector, best_detector, histogram, score
from apps.reproduce.e4_cards.table import tabulate as card_table
from apps.reproduce.shared import bases
from apps.studies.ioi_prompts import Pair
from tests.support import tiny

PAIRS = [
    Pair("w7 w31 w12 w55", "w5", "w6", "w7 w32 w12 w55", "w8"),
    Pair("w9 w3 w12 w4", "w5", "w6", "w9 w40 w12 w4", "w8"),
    Pair("w20 w3 w71 w8", "w5", "w6", "w20 w3 w16 w8", "w8"),
]


# -- E3 --------------------------------------------------------------------------------------------


def test_both_ends_of_a_curve_are_known(llama: steer.Model) -> None:
    assert e3.endpoint_gap(llama, tiny.dictionary(), PAIRS) < 1e-4


def test_an_invertible_basis_reaches_the_target(llama: steer.Model) -> None:
    x = torch.randn(200, tiny.D, generator=torch.Generator().manual_seed(0))
    controls = e3.controls(x, "resid_post.1", 48, 0)
    for name in ("PCA", "neurons"):
        for curve in e3.localise(llama, name, controls[name], PAIRS):
            assert curve.floor.max().item() < 1e-4
            assert curve.counts[0] == 0
            assert max(curve.kl[0]) > 10 * curve.floor.max().item()


def test_the_gain_fits_best() -> None:
    x = torch.randn(300, tiny.D, generator=torch.Generator().manual_seed(0))
    controls = e3.controls(x, "resid_post.1", 96, 0)
    given = controls["random directions"]

    def error(gain: float) -> float:
        scaled = replace(given, W_dec=given.W_dec * gain)
        return (scaled.reconstruct(x) - x).square().mean().item()

    assert error(1.0) < min(error(0.9), error(1.1))


def test_all_nodes_are_ranked_once(llama: steer.Model) -> None:
    pairs = e3.as_patchable(llama, tiny.dictionary(), PAIRS)
    common, own = e3.rankings(pairs)
    assert sorted(common) == sorted({node for pair in pairs for node in pair.nodes})
    for pair, each in zip(pairs, own, strict=True):
        assert sorted(each) == sorted(pair.nodes)


def test_a_pair_alone_has_the_common_ranking(llama: steer.Model) -> None:
    common, own = e3.rankings(e3.as_patchable(llama, tiny.dictionary(), PAIRS[:1]))
    assert own == [common]


def test_acdc_and_the_ranking_are_measured_on_the_same_sets(llama: steer.Model) -> None:
    checked = e3.checked(llama, "tiny", tiny.dictionary(), PAIRS[:2])
    assert len(checked.counts) == len(checked.kl) == len(checked.ranked_kl) == len(checked.taus)
    assert checked.counts == sorted(checked.counts, reverse=True)
    pairs = e3.as_patchable(llama, tiny.dictionary(), PAIRS[:2])
    order, _ = e3.rankings(pairs)
    values = [pair.values([order[: checked.counts[-1]]], "kl").item() for pair in pairs]
    assert checked.ranked_kl[-1] == pytest.approx(sum(values) / 2, abs=1e-5)


def made_up(name: str, height: float, floor: float) -> Localised:
    """Falls from 1 to its floor, the faster the lower its height."""
    counts = [0, 1, 64, 128]
    kl = [[1.0, 1.1, 0.9], [height] * 3, [floor] * 3, [floor] * 3]
    norm = [[0.0] * 3, [1.0] * 3, [2.0] * 3, [3.0] * 3]
    return Localised(name, "own", counts, kl, norm, 100, 1e-6)


def test_claims_compare_sparse_dictionaries_with_controls() -> None:
    curves = [
        made_up("L1 α=0", 0.9, 0.01),
        made_up("L1 α=1", 0.3, 0.1),
        made_up("L1 α=2", 0.2, 0.2),
        made_up("PCA", 0.8, 0.0),
    ]
    table = localised.tabulate(curves, [], 1.0, 0)
    claims = {claim.text: claim.holds for claim in table.claims}
    at_equal = (
        "sparse dictionaries come closer to the target than {} at the same number of features, own "
        "ranking"
    )
    assert claims[at_equal.format("PCA")] is True
    assert claims[at_equal.format("L1 α=0")] is True
    assert claims["the floor, all features patched, rises with α"] is True
    areas = {row["dictionary"]: row["kl"] for row in table.rows if row["what"].endswith("features")}
    assert areas["L1 α=2"] < areas["PCA"]
    assert all(row["features"] == UPTO for row in table.rows if row["what"] == "area over features")
    assert len(localised.figure(table).data) == 3 * len(curves)


def test_a_floor_that_falls_is_reported_as_it_is() -> None:
    curves = [made_up("L1 α=0", 0.9, 0.3), made_up("L1 α=1", 0.3, 0.1), made_up("PCA", 0.2, 0.0)]
    claims = {claim.text: claim.holds for claim in localised.tabulate(curves, [], 1.0, 0).claims}
    assert not any(holds for text, holds in claims.items() if "PCA" in text or "floor" in text)


# -- E4 --------------------------------------------------------------------------------------------


def test_the_planted_detector_is_found() -> None:
    generator = torch.Generator().manual_seed(0)
    wanted = torch.rand(400, generator=generator) < 0.1
    activations = torch.rand(400, 20, generator=generator)
    activations[:, 7] = wanted * 1.0 + 0.2 * torch.rand(400, generator=generator)
    detector = best_detector(activations, wanted)
    assert detector.feature == 7
    assert detector.f1 == 1
    assert 0.2 <= detector.threshold < 1


def test_scores_are_precision_and_recall() -> None:
    values = [torch.tensor([1.0, 1.0, 0.0]), torch.tensor([0.0, 1.0, 0.0])]
    wanted = [torch.tensor([True, False, False]), torch.tensor([True, True, False])]
    found = score(Detector(0, 0.5, 1.0), values, wanted)
    assert found.precision.mean == pytest.approx(2 / 3)
    assert found.recall.mean == pytest.approx(2 / 3)
    silent = score(Detector(0, 5.0, 1.0), values, wanted)
    assert silent.precision.mean == silent.recall.mean == 0


def test_a_histogram_counts_every_active_token_once() -> None:
    values = torch.tensor([0.0, 0.5, 1.0, 9.5, 10.0])
    bins = histogram(values, ["a", "b", "b", "c", "d"], torch.tensor([0, 0, 1, 1, 1]).bool())
    assert sum(each.count for each in bins) == 4
    assert bins[0].tokens == (("b", 2),)
    assert bins[0].share == 0.5
    assert bins[-1].count == 2


def test_masks_of_a_kind(llama: steer.Model) -> None:
    ids, _ = llama.tokenize(["w7 w31 w7 w5"])
    places = e4.of_kind(llama, ids, "w7|w5")
    assert places["at"].tolist() == [[False, False, True, True]]
    assert places["before"].tolist() == [[False, True, True, False]]


@pytest.fixture
def parts(llama: steer.Model) -> list[e4.Part]:
    later = replace(tiny.dictionary("resid_post.1"), name="later")
    earlier = replace(tiny.dictionary("resid_post.0", seed=4), name="earlier")
    generator = torch.Generator().manual_seed(0)
    texts = [
        " ".join(f"w{i}" for i in torch.randint(3, 12, (8,), generator=generator).tolist())
        for _ in range(20)
    ]
    read = e4.read_texts(llama, "resid_post.1", texts)
    sizes = e4.Sizes(texts=20, contexts=3, parents=2)
    return e4.card(llama, later, earlier, "w5", "w5", read, sizes, 0)


def test_a_card_has_all_its_parts(parts: list[e4.Part]) -> None:
    kinds = list(dict.fromkeys(part.part for part in parts))
    assert kinds[:5] == [
        "detector precision",
        "detector recall",
        "detector f1",
        "input",
        "output",
    ]
    assert {"parent", "hydra"} <= set(kinds)
    falls = [part.value for part in parts if part.part == "output"]
    assert falls == sorted(falls, key=lambda value: value or 0)
    table = card_table(parts)
    assert len(table.claims) >= 4
    assert table.figure is not None
    assert len(table.figure(table).data) == 3


def test_a_case_that_nothing_detects_has_no_card(llama: steer.Model) -> None:
    dictionary = tiny.dictionary("resid_post.1")
    read = e4.read_texts(llama, "resid_post.1", ["w7 w31 w12"] * 4)
    sizes = e4.Sizes(texts=4, contexts=2, parents=2)
    assert e4.card(llama, dictionary, dictionary, "w5", "w5", read, sizes, 0) == []
    table = card_table([], ["w5"])
    assert "No feature detects the w5" in table.notes[-1]
    assert not table.rows
    assert not table.claims
    assert table.figure is None


def test_the_output_effect_is_that_of_an_ablation(llama: steer.Model) -> None:
    dictionary = tiny.dictionary("resid_post.1")
    feature = tiny.active_features(llama, dictionary)[0]
    ids, _ = llama.tokenize([tiny.PROMPT])
    edit = steer.Intervention("tiny", [steer.Ablate(feature, positions="last")])
    effect = steer.logit_effect(
        llama, [tiny.PROMPT], edit, dictionaries=[dictionary], draws=0, if_silent="ignore"
    )
    found = e4._change(llama, dictionary, feature, ids[0])
    assert torch.allclose(found.float(), effect.delta_logprob[0].float(), atol=1e-5)
    assert not torch.allclose(found.float(), effect.delta_logit[0].float(), atol=1e-4)


def test_random_rows_differ_from_the_trained() -> None:
    trained = tiny.dictionary()
    rows = bases.random_rows(trained).W_dec
    assert torch.allclose(rows.norm(dim=-1), trained.W_dec.norm(dim=-1), atol=1e-5)
    assert not torch.allclose(rows, trained.W_dec, atol=0.1)
