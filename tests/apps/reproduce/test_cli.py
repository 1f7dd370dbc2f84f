"""`steer reproduce` from the shell: what it refuses before anything is run."""

from __future__ import annotations

import pytest

from apps.reproduce.registry import EXPERIMENTS
from apps.reproduce.run import of_shard
from tests.support.command import Run


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("e3", "--judge", "gpt"), "e3 asks no judge; only e2 does"),
        (("e3", "--endpoint", "http://127.0.0.1:1/v1"), "e3 asks no judge"),
        (("e2", "--endpoint", "http://127.0.0.1:1/v1"), "an endpoint needs a judge"),
    ],
)
def test_a_refusal_is_one_line(run: Run, arguments: tuple[str, ...], message: str) -> None:
    code, out, err = run("reproduce", *arguments)
    assert (code, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("count", [1, 2, 4, 9])
def test_shards_have_each_experiment_once(count: int) -> None:
    dealt = [of_shard([*EXPERIMENTS.values()], f"{n}/{count}") for n in range(1, count + 1)]
    names = [experiment.name for shard in dealt for experiment in shard]
    assert sorted(names) == sorted(EXPERIMENTS)
