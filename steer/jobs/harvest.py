"""Activations of a model on many contexts, into an `ActivationStore`, in units of a batch each.

Every unit has its own span of the store's files. What was written there is told by its sha256 in
a ledger beside them, so that nothing is taken for harvested that is not there: not after a crash,
and not where a shard was made on another disk.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock
from torch import Tensor

from dictionaries.errors import TrainingError
from dictionaries.training.activations import ActivationStore, Contexts, as_bytes
from steer.disk.ledger import Ledger, Row, difference, read_ledger
from steer.disk.merge import Shard, merge
from steer.jobs.executors import Executor, executor_of
from steer.jobs.job import Opened
from steer.jobs.run import Todo
from steer.lm.language_model import LanguageModel
from steer.progress import Progress

_WHOLE = "harvest.jsonl"


def harvest_ledger(folder: Path, shard: str | None = None) -> Path:
    """The file of a store that says what is harvested, of all contexts or by one shard.

    Raises `SteerError` for what is no shard.
    """
    which = Shard.parse(shard) if shard else Shard()
    name = _WHOLE if which.count == 1 else f"harvest-{which.number}-of-{which.count}.jsonl"
    return folder / name


def check_whole(folder: Path) -> None:
    """Raise `TrainingError` for a store of which some contexts are not harvested, or not joined."""
    whole = harvest_ledger(folder)
    if whole.exists() and read_ledger(whole).ends:
        return
    if any(folder.glob("harvest*.jsonl")):
        raise TrainingError(
            f"{folder} is not harvested whole: give its command again, without --shard"
        )


def harvest(
    model: LanguageModel,
    contexts: Contexts,
    store: ActivationStore,
    *,
    batch: int = 16,
    shard: str | None = None,
    executor: str | Executor | None = None,
    progress: Progress | None = None,
) -> None:
    """Run every context once and store all the store's sites, in one pass.

    contexts: tokens [n, length], without padding.
    shard: such as `2/3`, for a third of the batches, into the same store: processes that share its
        disk may run at once. The call without `shard` joins what shards made.
    executor: as `ablation_sweep` has it; its workers send what they read here.
    Raises `TrainingError` for a store of other contexts, sites, or another model, and for one that
    does not hold what its ledger says; `SteerError` for shards that are missing or not finished.
    """
    job = Batches(contexts.tokens, tuple(store.sites), batch)
    which, run = Shard.parse(shard) if shard else Shard(), executor_of(executor)
    store.create(contexts)
    path = harvest_ledger(store.folder, shard)
    with FileLock(path.with_suffix(".lock")):
        if which.count == 1:
            _join(path)
        elif (store.folder / _WHOLE).exists():
            raise TrainingError(
                f"{store.folder / _WHOLE} is of all contexts: leave the shard out to go on from it"
            )
        ledger = Ledger(path, which.header(_header(model, contexts, store, batch)))
        _check_header(ledger)
        there = ledger.read().of(job.stage)
        done = {int(key[2]): rows for key, rows in there.items()} or _of_before(job, store, ledger)
        _check_bytes(store, path, done)
        total = sum(job.count(unit) for unit in range(job.most_units) if which.has(0, unit))
        read = sum(map(job.count, done))
        for made in run(job, model, Todo(which, frozenset((0, unit) for unit in done))):
            (values,) = made.rows
            store.write(job.start(made.unit), values)
            done[made.unit] = [_row(job.start(made.unit), values)]
            ledger.append((job.stage, 0, made.unit), done[made.unit])
            read += job.count(made.unit)
            if progress:
                progress("harvesting", read, total)
        ledger.end(job.stage, len(done))


@dataclass(frozen=True, eq=False)
class Batches:
    """Contexts [n, length] in batches: a unit's one row is what the sites hold there."""

    tokens: Tensor
    sites: tuple[str, ...]
    batch: int
    stage: str = "harvest"
    doing: str = "harvesting"
    part: str = "corpus"
    parts: int = 1

    @property
    def most_units(self) -> int:
        return -(-len(self.tokens) // self.batch)

    def start(self, unit: int) -> int:
        return unit * self.batch

    def count(self, unit: int) -> int:
        """Of contexts."""
        return min(self.batch, len(self.tokens) - self.start(unit))

    def open(self, model: LanguageModel, part: int) -> Opened:
        return Opened(self.most_units, partial(self._rows, model))

    def _rows(self, model: LanguageModel, unit: int) -> list[Row]:
        start = self.start(unit)
        ids = self.tokens[start : start + self.batch].long().to(model.device)
        streams = model.collect(ids, torch.ones_like(ids), list(self.sites))
        return [{site: streams[site].to(torch.bfloat16).cpu() for site in self.sites}]


def _header(
    model: LanguageModel, contexts: Contexts, store: ActivationStore, batch: int
) -> dict[str, Any]:
    tokens = contexts.tokens.contiguous().numpy()
    return {
        "harvest": 1,
        "model": model.fingerprint,
        "dtype": model.precision,
        "sites": store.sites,
        "contexts": [*tokens.shape, hashlib.sha256(tokens.tobytes()).hexdigest()[:20]],
        "batch": batch,
    }


def _join(path: Path) -> None:
    """Make the whole of shards, where these are what there is."""
    if not path.exists() and (parts := sorted(path.parent.glob("harvest-*-of-*.jsonl"))):
        merge(parts, path)


def _check_header(ledger: Ledger) -> None:
    path = ledger.path
    if path is None or not path.exists():
        return
    if differing := difference(read_ledger(path).header, ledger.header):
        raise TrainingError(
            f"{path.parent} holds a harvest that differs in {differing}: use another folder, or "
            "ask for the same; a recipe's dtype is its harvest_dtype"
        )


def _check_bytes(store: ActivationStore, path: Path, done: Mapping[int, list[Row]]) -> None:
    spans = [(row["start"], row["contexts"]) for (row,) in done.values()]
    stored = store.digests(spans)
    for (start, count), there, (row,) in zip(spans, stored, done.values(), strict=True):
        if there != {site: row[site] for site in store.sites}:
            raise TrainingError(
                f"{store.folder} does not hold at contexts {start} to {start + count - 1} what "
                f"{path.name} says was written there: was that made on another disk, or cut off? "
                f"Remove {path.name} and the shards' to harvest anew"
            )


def _row(start: int, values: Mapping[str, Tensor]) -> Row:
    count = len(next(iter(values.values())))
    digests = {site: hashlib.sha256(as_bytes(value)).hexdigest() for site, value in values.items()}
    return {"start": start, "contexts": count, **digests}


def _of_before(job: Batches, store: ActivationStore, ledger: Ledger) -> dict[int, list[Row]]:
    """Batches of a store that was begun when there was a mark in place of a ledger."""
    mark = store.folder / "progress.json"
    marked = json.loads(mark.read_text())["contexts"] if mark.exists() else 0
    if ledger.path != store.folder / _WHOLE:
        return {}
    spans = [(job.start(unit), job.count(unit)) for unit in range(job.most_units)]
    begun = [(start, count) for start, count in spans if start + count <= marked]
    done: dict[int, list[Row]] = {}
    for unit, (span, digests) in enumerate(zip(begun, store.digests(begun), strict=True)):
        done[unit] = [{"start": span[0], "contexts": span[1], **digests}]
        ledger.append((job.stage, 0, unit), done[unit])
    return done
