"""`--shard` and `steer merge` on a tiny model."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from dictionaries import catalogue
from dictionaries.beside.statistics import FILE
from tests.support import tiny
from tests.support.command import Run

COMMANDS = {
    "sweep": ["sweep", *tiny.PROMPTS, "--draws", "2", "--answer", "w5"],
    "dose": ["dose", "7", *tiny.PROMPTS, "--dose", "2", "--dose", "-1", "--continuation", "2"],
}
RECIPE = """
name = "tiny"
model = {model!r}
sites = ["resid_post.1"]
tokens = 1600
context = 16
harvest_dtype = "float32"
[corpora]
{text!r} = 1.0
[train]
"""


@pytest.mark.parametrize("name", COMMANDS)
def test_shards_are_shown_as_shards_and_merged_as_the_whole(
    run: Run, model_folder: Callable[[], Path], tmp_path: Path, name: str
) -> None:
    catalogue.save(tiny.dictionary(), tmp_path / "sae")
    common = ["--model", model_folder(), "--dictionary", tmp_path / "sae", "--json"]

    def said(*more: object) -> dict[str, object]:
        code, out, err = run(*COMMANDS[name], *common, *more)
        assert (code, err) == (0, "")
        document: dict[str, object] = json.loads(out)
        return document

    whole, merged = tmp_path / "whole.jsonl", tmp_path / "merged.jsonl"
    result = said("--file", whole)
    files = [tmp_path / "second.jsonl", tmp_path / "first.jsonl"]
    for number, file in zip((2, 1), files, strict=True):
        part = said("--file", file, "--shard", f"{number}/2")
        assert part["shard"] == f"{number}/2"
        assert part.keys() == {"shard", "file", "units", "rows"}
    code, out, err = run("merge", *files, "--out", merged, "--json")
    assert (code, err) == (0, "")
    assert json.loads(out)["written"] == str(merged)
    assert said("--file", merged) == result
    assert merged.read_bytes() == whole.read_bytes()


def test_statistics_of_three_parts_of_a_corpus_are_those_of_the_whole(
    run: Run, model_folder: Callable[[], Path], tmp_path: Path
) -> None:
    model, text = model_folder(), tmp_path / "text.txt"
    text.write_text(" ".join(f"w{3 + number * 7 % 60}" for number in range(17_000)))
    for name in ("one", "three"):
        catalogue.save(tiny.dictionary(with_statistics=False), tmp_path / name)
    files = [tmp_path / f"{number}.jsonl" for number in (3, 1, 2)]

    def measure(name: str, *more: object) -> None:
        asked = ["statistics", tmp_path / name, "--corpus", text, "--model", model]
        answer = run(*asked, *more, "--json")
        assert (answer.code, answer.err) == (0, "")

    for number, file in zip((3, 1, 2), files, strict=True):
        measure("three", "--file", file, "--shard", f"{number}/3")
    assert not (tmp_path / "three" / FILE).exists()
    assert run("merge", *files, "--out", tmp_path / "all.jsonl").code == 0
    measure("three", "--file", tmp_path / "all.jsonl")
    measure("one")
    assert (tmp_path / "three" / FILE).read_bytes() == (tmp_path / "one" / FILE).read_bytes()


def test_a_harvest_of_two_shards_is_that_of_the_whole(
    run: Run, model_folder: Callable[[], Path], tmp_path: Path
) -> None:
    recipe, text = tmp_path / "tiny.toml", tmp_path / "text.txt"
    text.write_text(" ".join(f"w{3 + number * 7 % 60}" for number in range(2000)))
    recipe.write_text(RECIPE.format(model=str(model_folder()), text=str(text)))

    def harvested(name: str, *more: object) -> object:
        asked = ["train", recipe, "--work", tmp_path / name, "--out", tmp_path / "out"]
        answer = run(*asked, "--harvest-only", *more, "--json")
        assert (answer.code, answer.err) == (0, "")
        return json.loads(answer.out)

    assert harvested("whole") == []
    for number in (2, 1):
        told = harvested("spread", "--shard", f"{number}/2")
        place = tmp_path / "spread" / "activations" / f"harvest-{number}-of-2.jsonl"
        units = 5 - number  # seven batches
        assert told == {"shard": f"{number}/2", "file": str(place), "rows": units, "units": units}
    assert harvested("spread") == []
    for file in ("resid_post.1.bf16", "harvest.jsonl", "contexts.safetensors"):
        whole, spread = (tmp_path / name / "activations" / file for name in ("whole", "spread"))
        assert whole.read_bytes() == spread.read_bytes()
