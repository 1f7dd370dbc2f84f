"""However a harvest is split, stopped and joined, its files are the same, byte for byte."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import steer
from dictionaries.errors import TrainingError
from dictionaries.training.activations import ActivationStore, Contexts
from steer.disk.merge import merge
from steer.errors import SteerError
from steer.jobs.harvest import check_whole, harvest, harvest_ledger
from tests.support import plain, tiny
from tests.support.elsewhere import elsewhere

SITES = {"resid_post.1": tiny.D, "mlp_out.0": tiny.D}


def tokens(n: int = 7, length: int = 6, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(3, tiny.VOCABULARY, (n, length), generator=generator)


def contexts(**options: int) -> Contexts:
    ids = tokens(**options).int()
    none = torch.zeros(len(ids), dtype=torch.uint8)
    return Contexts(ids, none, none.bool(), ("x",))


def harvested(model: steer.Model, folder: Path, **options: Any) -> ActivationStore:
    store = ActivationStore(folder, SITES)
    harvest(model, contexts(), store, batch=2, **options)
    return store


def contents(folder: Path) -> dict[str, bytes]:
    """Of a store; the files of shards are no part of it."""
    files = [*folder.glob("*.bf16"), folder / "harvest.jsonl", folder / "contexts.safetensors"]
    return {file.name: file.read_bytes() for file in files}


def interrupt(what: str, done: int, total: int) -> None:
    raise KeyboardInterrupt


def test_harvest(model: steer.Model, untouched: Any, tmp_path: Path) -> None:
    store = ActivationStore(tmp_path, SITES)
    harvest(model, contexts(), store, batch=3)
    with plain.recorded(plain.block(untouched, 2), "input") as residual:
        plain.logits(untouched, tokens())
    expected = residual[0].to(torch.bfloat16).float()
    torch.testing.assert_close(store.mapped("resid_post.1").float(), expected, atol=0.05, rtol=0.02)


def test_a_stopped_harvest_is_taken_up(llama: steer.Model, tmp_path: Path) -> None:
    harvested(llama, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        harvested(llama, tmp_path / "stopped", progress=interrupt)
    seen: list[tuple[int, int]] = []
    harvested(llama, tmp_path / "stopped", progress=lambda *at: seen.append(at[1:]))
    assert seen == [(4, 7), (6, 7), (7, 7)]
    assert contents(tmp_path / "stopped") == contents(tmp_path / "whole")


def test_shards_on_one_disk_at_once_are_the_whole(llama: steer.Model, tmp_path: Path) -> None:
    """Each begins while those before it are at work."""
    harvested(llama, tmp_path / "whole")
    folder, seen = tmp_path / "spread", []

    def others(what: str, done: int, total: int) -> None:
        seen.append((done, total))
        if len(seen) == 1:
            harvested(llama, folder, shard="3/3")
            harvested(llama, folder, shard="1/3")

    harvested(llama, folder, shard="2/3", progress=others)
    assert seen == [(2, 2)]
    with pytest.raises(TrainingError, match=r"spread is not harvested whole: .* without --shard"):
        check_whole(folder)
    harvested(llama, folder, progress=interrupt)  # nothing is left to do
    check_whole(folder)
    assert contents(folder) == contents(tmp_path / "whole")
    shards = [harvest_ledger(folder, f"{number}/3") for number in (3, 1, 2)]
    merge(shards, tmp_path / "merged.jsonl")
    assert (tmp_path / "merged.jsonl").read_bytes() == (folder / "harvest.jsonl").read_bytes()
    with pytest.raises(TrainingError, match="leave the shard out"):
        harvested(llama, folder, shard="1/3")


def test_workers_elsewhere_give_the_same_files(llama: steer.Model, tmp_path: Path) -> None:
    harvested(llama, tmp_path / "whole")
    harvested(llama, tmp_path / "spread", executor=elsewhere)
    assert contents(tmp_path / "spread") == contents(tmp_path / "whole")


def test_shards_that_are_no_whole_are_refused(llama: steer.Model, tmp_path: Path) -> None:
    harvested(llama, tmp_path, shard="1/3")
    with pytest.raises(KeyboardInterrupt):
        harvested(llama, tmp_path, shard="2/3", progress=interrupt)
    with pytest.raises(SteerError, match="shard 3/3 is missing"):
        harvested(llama, tmp_path)
    harvested(llama, tmp_path, shard="3/3")
    with pytest.raises(SteerError, match=r"shard 2/3.*is not finished"):
        harvested(llama, tmp_path)
    harvested(llama, tmp_path, shard="2/3")
    four = harvest_ledger(tmp_path, "4/4")
    four.write_text(harvest_ledger(tmp_path, "1/3").read_text().replace("1/3", "4/4"))
    with pytest.raises(SteerError, match=r"is shard 4/4, and .* is one of 3"):
        harvested(llama, tmp_path)


def test_what_was_made_on_another_disk_is_not_taken_for_there(
    llama: steer.Model, tmp_path: Path
) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    harvested(llama, here, shard="1/2")
    harvested(llama, there, shard="2/2")
    second = harvest_ledger(there, "2/2")
    (here / second.name).write_bytes(second.read_bytes())
    with pytest.raises(TrainingError, match=r"contexts 2 to 3 what harvest\.jsonl says"):
        harvested(llama, here)


def test_other_harvests_are_refused(llama: steer.Model, tmp_path: Path) -> None:
    harvested(llama, tmp_path)
    with pytest.raises(TrainingError, match="other contexts"):
        harvest(llama, contexts(seed=1), ActivationStore(tmp_path, SITES), batch=2)
    more = ActivationStore(tmp_path, {**SITES, "resid_post.0": tiny.D})
    with pytest.raises(TrainingError, match="differs in sites"):
        harvest(llama, contexts(), more, batch=2)
    other = replace(llama, fingerprint="another")
    with pytest.raises(TrainingError, match=r"differs in model: .* harvest_dtype"):
        harvested(other, tmp_path)


def test_a_harvest_of_before_goes_on(llama: steer.Model, tmp_path: Path) -> None:
    """It had a mark in place of a ledger."""
    harvested(llama, tmp_path / "whole")
    store = harvested(llama, tmp_path / "old")
    (tmp_path / "old" / "harvest.jsonl").unlink()
    (tmp_path / "old" / "progress.json").write_text(json.dumps({"contexts": 4}))
    store.write(4, {site: torch.zeros(3, 6, d) for site, d in SITES.items()})
    seen: list[int] = []
    harvested(llama, tmp_path / "old", progress=lambda *at: seen.append(at[1]))
    assert seen == [6, 7]
    assert contents(tmp_path / "old") == contents(tmp_path / "whole")


def test_two_who_want_all_make_it_once(llama: steer.Model, tmp_path: Path) -> None:
    seen: list[str] = []
    second = threading.Thread(
        target=harvested,
        args=(llama, tmp_path / "shared"),
        kwargs={"progress": lambda *at: seen.append("second")},
    )

    def first(what: str, done: int, total: int) -> None:
        if not seen:
            second.start()
        seen.append("first")

    harvested(llama, tmp_path / "shared", progress=first)
    second.join()
    assert seen == ["first"] * 4
    harvested(llama, tmp_path / "whole")
    assert contents(tmp_path / "shared") == contents(tmp_path / "whole")
