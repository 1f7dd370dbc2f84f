"""Trainers side by side: the same work each, in turns, and ratios of their own seconds."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from apps.studies.trainers import table
from apps.studies.trainers.bench import Activations, Benched, Turn, bench
from apps.studies.trainers.size import Size
from apps.studies.trainers.trainers import KINDS, OURS, OURS_BF16, Kind
from dictionaries.config import DictionaryConfig
from dictionaries.training.train import TrainConfig, train
from steer.errors import SteerError
from tests.dictionaries.training.planted import planted

SIZE = Size(width=48, k=4, batch=256, samples=2048, rounds=4, learning_rate=1e-2)


def activations() -> Activations:
    x = planted()[0]
    return Activations.scaled(x[: SIZE.samples], x[SIZE.samples :][:512], "planted")


def test_all_that_are_installed_do_the_same_in_turns_and_learn() -> None:
    benched = bench(activations(), SIZE)
    there = [kind.name for kind in KINDS if kind.missing is None]
    assert {OURS, OURS_BF16} <= set(there)
    for number in range(SIZE.rounds):
        order = [turn.trainer for turn in benched.turns if turn.round == number]
        begin = number % len(there)
        assert order == there[begin:] + there[:begin]
    assert {turn.samples for turn in benched.turns} == {SIZE.samples // SIZE.rounds}
    assert list(benched.fvu) == there
    assert all(0 < fvu < 1.5 for fvu in benched.fvu.values())
    assert benched.fvu[OURS] < 0.9


def test_ours_in_turns_is_train() -> None:
    data = activations()
    benched = bench(data, SIZE, [OURS])
    config = TrainConfig(
        architecture="topk",
        width=SIZE.width,
        k=SIZE.k,
        samples=SIZE.samples,
        batch=SIZE.batch,
        learning_rate=SIZE.learning_rate,
        candidates_dtype="float32",
    )
    whole = train(data.train, config, DictionaryConfig(data.train.shape[1], SIZE.width, "x"))
    error = data.heldout - whole.reconstruct(data.heldout)
    spread = data.heldout - data.heldout.mean(0)
    assert benched.fvu[OURS] == (error.square().sum() / spread.square().sum()).item()


def test_what_a_library_sets_and_prints_stays_inside_its_turn(
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = torch.get_float32_matmul_precision()
    bench(activations(), SIZE)
    assert torch.get_float32_matmul_precision() == before
    assert capsys.readouterr() == ("", "")


def test_a_library_that_is_not_there_is_named_with_its_command() -> None:
    kind = Kind("other", "no-such-package", "pip install no-such-package==1", KINDS[0].make)
    assert kind.missing == "other: not installed; pip install no-such-package==1"
    assert KINDS[0].missing is None


def made(seconds: dict[str, tuple[float, ...]], rounds: int) -> Benched:
    turns = tuple(
        Turn(name, number, 100, time_, 9.0)
        for name, times in seconds.items()
        for number, time_ in enumerate(times)
    )
    there = dict.fromkeys(seconds, "1")
    size = replace(SIZE, rounds=rounds)
    return Benched(size, "planted", turns, dict.fromkeys(seconds, 0.5), there, ())


def test_a_ratio_is_of_turns_of_one_round_without_the_first() -> None:
    times = {OURS: (9.0, 1.0, 2.0, 4.0), "sparsify": (1.0, 2.0, 3.0, 8.0)}
    ours, theirs = table.lines(made(times, 4))
    assert (ours["steer_is_times"], theirs["steer_is_times"]) == (1.0, 2.0)
    assert theirs["samples_a_second"] == 100 / 3.0
    assert theirs["in_bf16"] is None


def test_a_goal_is_of_fp32_and_bf16_is_beside_the_fastest_way() -> None:
    times = {OURS: (2.0,), OURS_BF16: (1.0,), "sae-lens": (8.0,)}
    times["sae-lens, autocast to bf16"] = (3.0,)
    (said,) = table.goals(made(times, 1))
    assert said == (
        "4.00 times sae-lens in fp32 (goal 3: reached); chosen in bf16, 3.00 times its fastest way"
    )
    times = {OURS: (1.0,), "sparsify": (1.25,)}
    assert table.goals(made(times, 1)) == ["1.25 times sparsify in fp32 (goal 1.5: not reached)"]
    assert not table.goals(made({"sparsify": (1.0,)}, 1))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"batch": 100}, "multiple of 256"),
        ({"k": 49}, "k must be from 1 to width 48"),
        ({"samples": 2000}, "multiple of batch x rounds"),
    ],
)
def test_a_size_that_some_trainer_can_t_do_is_refused(changes: dict[str, int], said: str) -> None:
    with pytest.raises(SteerError, match=said):
        replace(SIZE, **changes)


def test_too_few_activations_and_unknown_trainers_are_refused() -> None:
    with pytest.raises(SteerError, match="fewer than 4096 samples"):
        bench(activations(), replace(SIZE, samples=4096))
    with pytest.raises(SteerError, match="no trainer 'ours'; there are steer;"):
        bench(activations(), SIZE, ["ours"])
