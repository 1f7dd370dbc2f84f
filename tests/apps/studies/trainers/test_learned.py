"""What trainers come to: trained to the end, judged alike, each row kept and not made again."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from apps.studies.trainers.bench import Activations
from apps.studies.trainers.learned import learned, lines, missing
from apps.studies.trainers.rates import OWN, rate, settings
from apps.studies.trainers.size import Size
from apps.studies.trainers.trainers import KINDS, OURS
from dictionaries.config import DictionaryConfig
from dictionaries.training.train import TrainConfig, train
from steer.errors import SteerError
from tests.dictionaries.training.planted import planted

SIZE = Size(width=48, k=4, batch=256, samples=2048, rounds=4)


def activations() -> Activations:
    x = planted()[0]
    return Activations.scaled(x[: SIZE.samples], x[SIZE.samples :][:512], "planted")


def test_ours_is_train_on_samples_in_a_drawn_order() -> None:
    data = activations()
    (row,) = learned(data, SIZE, [OURS], [1e-2])
    order = torch.randperm(SIZE.samples, generator=torch.Generator().manual_seed(SIZE.seed))
    config = TrainConfig(
        architecture="topk",
        width=SIZE.width,
        k=SIZE.k,
        samples=SIZE.samples,
        batch=SIZE.batch,
        learning_rate=1e-2,
        candidates_dtype="float32",
    )
    about = DictionaryConfig(data.train.shape[1], SIZE.width, "x")
    trained = train(data.train[order], config, about)
    error = data.heldout - trained.reconstruct(data.heldout)
    spread = data.heldout - data.heldout.mean(0)
    active = trained.encode(data.heldout)[0] != 0
    fvu = (error.square().sum() / spread.square().sum()).item()
    assert row["FVU"] == pytest.approx(fvu, abs=1e-4)
    assert row["L0"] == pytest.approx(active.sum(-1).float().mean().item(), abs=0.01)
    silent = (~active.any(0)).float().mean().item()
    assert row["never_active"] == pytest.approx(silent, abs=1e-4)
    assert [seen for seen, _ in row["curve"]] == [512, 1024, 1536]
    assert row["FVU"] < row["curve"][0][1]


def test_all_that_are_installed_learn_at_both_rates_and_keep_to_k() -> None:
    rows = learned(activations(), SIZE, [kind.name for kind in KINDS], [OWN, 1e-2])
    there = [kind.name for kind in KINDS if kind.missing is None]
    assert [row["trainer"] for row in rows] == there * 2
    assert {row["rate"] for row in rows} == {OWN, 1e-2}
    for row in rows:
        assert 0 < row["L0"] <= SIZE.k
        assert 0 <= row["never_active"] < 1
        assert 0 < row["FVU"] < 3  # sae-lens begins with b_dec at 0, far from the mean
    assert list(lines(rows)[0]) == [
        "trainer",
        "rate",
        "FVU",
        "L0",
        "never_active",
        "processor_seconds",
    ]


def test_what_is_kept_is_not_trained_again(tmp_path: Path) -> None:
    file = tmp_path / "learned.jsonl"
    first = learned(activations(), SIZE, [OURS], [OWN], file)
    written = file.read_bytes()
    assert learned(activations(), SIZE, [OURS], [OWN], file) == first
    assert file.read_bytes() == written
    both = learned(activations(), SIZE, [OURS], [OWN, 1e-2], file)
    assert both[0] == first[0]
    assert file.read_bytes().startswith(written)
    assert len(file.read_bytes().splitlines()) == 3  # the header, and a line a training


@pytest.mark.parametrize("library", ["steer", "sparsify", "sae-lens", "dictionary_learning"])
def test_a_rate_that_is_given_is_every_librarys(library: str) -> None:
    size = Size(batch=1024, samples=204_800)
    given = settings(library, size, 2e-3)
    assert 2e-3 in given.values()
    assert 2e-3 not in settings(library, size, OWN).values()


def test_the_schedule_is_ours_where_it_can_be_set() -> None:
    size = Size(batch=1024, samples=204_800)  # 200 steps: warmed up in 4, decayed over 60
    assert settings("sae-lens", size, 1e-3)["lr_decay_steps"] == 60
    assert settings("sae-lens", size, 1e-3)["lr_warm_up_steps"] == 4
    assert settings("dictionary_learning", size, 1e-3)["decay_start"] == 140
    assert settings("sparsify", size, 1e-3)["lr_warmup_steps"] == 4


@pytest.mark.parametrize("said", ["fast", "0", "-1e-3", "1", "nan"])
def test_what_is_no_rate_is_refused(said: str) -> None:
    with pytest.raises(SteerError, match="rate must be 'own' or a number between 0 and 1"):
        rate(said)
    assert rate("own") == OWN
    assert rate("1e-3") == 1e-3


def test_too_few_activations_and_unknown_trainers_are_refused() -> None:
    more = Size(width=48, k=4, batch=256, samples=4096, rounds=4)
    with pytest.raises(SteerError, match="fewer than 4096 samples"):
        learned(activations(), more)
    with pytest.raises(SteerError, match="no trainer 'ours'; there are steer;"):
        learned(activations(), SIZE, ["ours"])
    assert missing([OURS]) == []
