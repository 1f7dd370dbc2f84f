"""However a job is split, stopped and joined, its file is the same, byte for byte."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pandas
import pytest
import torch
from pandas.testing import assert_frame_equal

import steer
from dictionaries.dictionary import Dictionary
from steer.disk.ledger import Contents, read_ledger
from steer.disk.merge import Shard, merge
from steer.errors import SteerError
from steer.jobs.job import blocks
from steer.jobs.statistics import feature_statistics
from tests.support import tiny

METRIC = steer.LogitDifference("w5", "w6")
CHOSEN = list(range(0, tiny.WIDTH, 5))
Start = Callable[..., Any]
LATER = replace(tiny.dictionary("resid_post.2", seed=9), name="later")


def downstream(model: steer.Model, prompts: list[str], given: Dictionary, **options: Any) -> Any:
    edit = steer.Intervention("tiny", [steer.Clamp(5, 3.0)])
    return steer.downstream(model, prompts, edit, LATER, dictionaries=[given], draws=2, **options)


def statistics(model: steer.Model, prompts: list[str], given: Dictionary, **options: Any) -> Any:
    return feature_statistics(model, given, [*prompts] * 12, context=16, block=4, **options)


JOBS: dict[str, Start] = {
    "sweep": partial(steer.ablation_sweep, metric=METRIC, block=5),
    "all features, a small budget": partial(
        steer.ablation_sweep, features="all", metric=METRIC, block=30, budget=300_000
    ),
    "pairs": partial(steer.pair_sweep, features=CHOSEN, metric=METRIC, block=7),
    "doses": partial(
        steer.dose_response, feature=7, doses=[-1.0, "2x max"], neutral=["w8 w9"], continuation=3
    ),
    "downstream": downstream,
    "statistics": statistics,
}
every_job = pytest.mark.parametrize("name", JOBS)


def started(name: str, file: Path, **options: Any) -> Any:
    model, dictionary = tiny.tiny_model("llama"), tiny.dictionary()
    return JOBS[name](model, tiny.PROMPTS, dictionary, file=file, **options)


def shards(name: str, folder: Path, count: int = 3) -> list[Path]:
    files = [folder / f"{number}.jsonl" for number in range(1, count + 1)]
    for number, file in enumerate(files, 1):
        started(name, file, shard=f"{number}/{count}")
    return files


@every_job
def test_shards_merged_in_any_order_are_the_whole(name: str, tmp_path: Path) -> None:
    result = started(name, tmp_path / "whole.jsonl")
    whole = (tmp_path / "whole.jsonl").read_bytes()
    files = shards(name, tmp_path)
    assert all(len(file.read_bytes()) < len(whole) for file in files)
    for attempt in range(2):
        random.Random(attempt).shuffle(files)
        out = tmp_path / f"merged {attempt}.jsonl"
        merge(files, out)
        assert out.read_bytes() == whole
    read = started(name, tmp_path / "merged 0.jsonl")
    assert repr(read) == repr(result)
    assert out.read_bytes() == whole
    merge(files, tmp_path / "shards.parquet")
    merge([out], tmp_path / "whole.parquet")
    columns = pandas.read_parquet(tmp_path / "shards.parquet")
    assert_frame_equal(columns, pandas.read_parquet(tmp_path / "whole.parquet"))
    assert_frame_equal(columns.drop(columns="stage"), table_of(read_ledger(out)))


def table_of(there: Contents) -> pandas.DataFrame:
    """All rows as pandas makes a table of them, lists and objects as JSON."""
    rows = [row for unit in there.units.values() for row in unit]
    return pandas.DataFrame([{name: plain(value) for name, value in row.items()} for row in rows])


def plain(value: object) -> object:
    return json.dumps(value) if isinstance(value, list | dict) else value


@every_job
def test_a_stopped_job_ends_with_the_same_file(name: str, tmp_path: Path) -> None:
    started(name, tmp_path / "whole.jsonl")
    lines = (tmp_path / "whole.jsonl").read_text().splitlines(keepends=True)
    stopped = tmp_path / "stopped.jsonl"
    header, *units = lines[:-1]
    random.Random(0).shuffle(units)  # as workers finish them
    stopped.write_text("".join([header, *units[: len(units) // 2], units[-1][:20]]))
    started(name, stopped)
    assert stopped.read_text() == "".join(lines)


def test_controls_come_when_all_effects_are_there(tmp_path: Path) -> None:
    """What they are controls of is known only then."""
    against = steer.Against(draws=2, tested=4)
    whole, merged = tmp_path / "whole.jsonl", tmp_path / "merged.jsonl"
    started("sweep", whole, against=against)
    files = [tmp_path / f"{number}.jsonl" for number in (1, 2)]
    for number, file in enumerate(files, 1):
        part = started("sweep", file, against=against, shard=f"{number}/2")
        assert not part.controls
        assert repr(part).startswith(f"shard {number}/2 of a Sweep")
    merge(files, merged)
    swept = started("sweep", merged, against=against)
    assert {row["feature"] for row in swept.controls} == set(swept.largest(4))
    assert merged.read_bytes() == whole.read_bytes()


@every_job
def test_a_file_of_another_dictionary_of_that_name_is_refused(name: str, tmp_path: Path) -> None:
    """Such as one that was trained again, into the same folder."""
    model, own, file = tiny.tiny_model("llama"), tiny.dictionary(), tmp_path / "rows.jsonl"
    JOBS[name](model, tiny.PROMPTS, own, file=file, shard="1/2")
    other = replace(own, W_dec=own.W_dec.clone().index_fill_(0, torch.tensor([7]), 0.1))
    with pytest.raises(SteerError, match=r"differs in (dictionary|edited)\)"):
        JOBS[name](model, tiny.PROMPTS, other, file=file, shard="1/2")
    second = tmp_path / "second.jsonl"
    JOBS[name](model, tiny.PROMPTS, other, file=second, shard="2/2")
    with pytest.raises(SteerError, match=r"another run.*differs in (dictionary|edited)$"):
        merge([file, second], tmp_path / "out.jsonl")


def test_a_file_of_other_statistics_is_refused(tmp_path: Path) -> None:
    """Twice the maximum is another dose then; what is said in words does not count."""
    model, own, file = tiny.tiny_model("llama"), tiny.dictionary(), tmp_path / "rows.jsonl"
    assert own.statistics is not None
    started("doses", file)
    said = replace(own, statistics=replace(own.statistics, corpus="novels"), card={"seed": 1})
    JOBS["doses"](model, tiny.PROMPTS, said, file=file)
    twice = replace(own, statistics=replace(own.statistics, maximum=2 * own.statistics.maximum))
    with pytest.raises(SteerError, match=r"differs in dictionary\)"):
        JOBS["doses"](model, tiny.PROMPTS, twice, file=file)


def test_other_shards_are_refused(tmp_path: Path) -> None:
    one, two, three = shards("pairs", tmp_path)
    again = tmp_path / "again.jsonl"
    again.write_bytes(two.read_bytes())
    other = tmp_path / "other.jsonl"
    steer.pair_sweep(
        tiny.tiny_model("llama"), "w7 w8", tiny.dictionary(), CHOSEN, file=other, shard="3/3"
    )
    half = tmp_path / "half.jsonl"
    half.write_text("".join(three.read_text().splitlines(keepends=True)[:-1]))
    of_four = tmp_path / "four.jsonl"
    of_four.write_text(three.read_text().replace('"3/3"', '"3/4"'))
    whole = tmp_path / "whole.jsonl"
    started("pairs", whole)
    out = tmp_path / "out.jsonl"
    wrong = [
        ([one, two, two], "twice"),
        ([one, two, again], "shard 2/3 is there twice"),
        ([one, three], "shard 2/3 is missing"),
        ([one, two, other], "another run.*prompts_and_metrics"),
        ([one, two, half], "shard 3/3.*not finished"),
        ([one, two, of_four], "is one of 3"),
        ([one, two, whole], "without --shard"),
        ([one, two, tmp_path / "none"], "there is no file"),
        ([], "no shards"),
    ]
    for files, words in wrong:
        with pytest.raises(SteerError, match=words):
            merge(files, out)
        assert not out.exists()
    with pytest.raises(SteerError, match="is there already"):
        merge([one, two, three], whole)
    with pytest.raises(SteerError, match="differs in shard"):
        started("pairs", one, shard="2/3")
    with pytest.raises(SteerError, match="holds a sweep of pairs"):
        started("doses", one, shard="1/3")


@pytest.mark.parametrize("text", ["", "2", "0/3", "4/3", "a/b", "1/-3", "1/3/5"])
def test_bad_shards(text: str) -> None:
    with pytest.raises(SteerError, match="shard"):
        Shard.parse(text)


def test_a_shard_needs_a_file() -> None:
    model, dictionary = tiny.tiny_model("llama"), tiny.dictionary()
    with pytest.raises(SteerError, match="give a file"):
        steer.ablation_sweep(model, tiny.PROMPT, dictionary, shard="1/2")


def test_units_are_dealt_out_once_each() -> None:
    for count in (1, 2, 5):
        dealt = [Shard(number, count) for number in range(1, count + 1)]
        for part in range(4):
            for unit in range(7):
                assert sum(shard.has(part, unit) for shard in dealt) == 1
    assert [len(block) for block in blocks(10, 4)] == [3, 3, 4]
    assert blocks(0, 4) == []


def test_a_file_of_something_else(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    for text in ("[]\n", '{"rows": []}\n', "no\n", json.dumps({"unit": [1]}) + "\n"):
        file.write_text(text)
        with pytest.raises(SteerError, match="no file of a job's rows"):
            started("sweep", file)
