"""Synthetic samples have the features that they say, and a dictionary of them is recognised."""

from __future__ import annotations

import pytest
import torch

from apps.studies.truth import recovery
from apps.studies.truth.recovery import configurations, figures
from apps.studies.truth.synthetic import FEATURES, L0, D, _Process, synthetic, zipf
from dictionaries.architectures import ReLU
from dictionaries.config import DictionaryConfig
from dictionaries.dictionary import Dictionary
from dictionaries.training.state import first_rows

DATA = synthetic(4096, 256, 3)


def dictionary(rows: torch.Tensor) -> Dictionary:
    return ReLU(
        rows.T.contiguous(),
        torch.zeros(len(rows)),
        rows,
        torch.zeros(D),
        DictionaryConfig(D, len(rows), "synthetic"),
    )


def test_frequencies_are_zipfs() -> None:
    planted = zipf()
    assert planted.sum().item() == pytest.approx(L0)
    assert (planted.diff() < 0).all()
    tops = slice(0, 64)
    assert DATA.frequency[tops].numpy() == pytest.approx(planted[tops].numpy(), abs=0.04)
    assert DATA.frequency.sum().item() == pytest.approx(L0, rel=0.05)


def test_some_features_come_together_and_some_need_another() -> None:
    generator = torch.Generator().manual_seed(0)
    process = _Process.draw(generator)
    there = (process.sample(4096, generator) > 0).float()
    children = (process.parent != torch.arange(FEATURES)).nonzero().flatten()
    assert FEATURES / 8 < len(children) < FEATURES / 4
    assert (there[:, children] <= there[:, process.parent[children]]).all()
    often = there[:, :200] - there[:, :200].mean(0)
    correlation = torch.corrcoef(often.T)
    same = (process.group[:200, None] == process.group[:200]) & ~torch.eye(200, dtype=torch.bool)
    other = process.group[:200, None] != process.group[:200]
    assert correlation[same].mean() > 0.1
    assert correlation[other].mean().abs() < 0.01


def test_the_true_dictionary_has_all_features_and_a_random_one_none() -> None:
    true = figures(DATA, dictionary(DATA.rows))
    assert true["recovered"] == true["of_rare"] == true["true_rows"] == 1
    assert true["closest"] == pytest.approx(1)
    half = figures(DATA, dictionary(DATA.rows[: FEATURES // 2]))
    assert half["recovered"] == pytest.approx(0.5)
    assert (half["of_frequent"], half["of_rare"]) == (1, 0)
    rows = torch.randn(FEATURES, D, generator=torch.Generator().manual_seed(9))
    chance = figures(DATA, dictionary(torch.nn.functional.normalize(rows, dim=-1)))
    assert chance["recovered"] == 0
    assert 0.2 < chance["closest"] < 0.5


@pytest.mark.parametrize("seed", range(3))
def test_no_training_begins_at_the_truth(seed: int) -> None:
    rows = synthetic(8, 8, seed).rows
    for other in range(3):
        begun = first_rows(configurations(50_000, other)["TopK"], D)
        assert (begun @ rows.T).max() < 0.7


def test_every_trainer_is_of_one_recipe() -> None:
    configs = configurations(50_000, 0)
    assert {c.architecture for c in configs.values()} == {"batchtopk", "topk", "standard"}
    assert {c.frozen for c in configs.values()} == {
        "nothing", "decoder", "soft decoder", "encoder"
    }  # fmt: skip
    assert {(c.width, c.samples, c.batch, c.learning_rate) for c in configs.values()} == {
        (FEATURES, 50_000, 256, 3e-3)
    }
    assert recovery.COSINE == 0.9
