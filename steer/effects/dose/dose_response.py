"""How an effect grows with its dose, and what the doses do to text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dictionaries.dictionary import Dictionary
from steer.disk.content import dictionary_content
from steer.disk.ledger import Row
from steer.disk.remembered import digest
from steer.edits import Clamp, Edit, Value
from steer.edits.positions import Positions
from steer.effects.defaults import TEXT
from steer.effects.dose.result import MEASURES, NEUTRAL, PRICED, WRITTEN, DoseResponse
from steer.effects.dose.units import Doses
from steer.effects.metric import Metric, as_metrics
from steer.errors import SteerError
from steer.features.fit import check_dictionary
from steer.jobs.executors import Executor, executor_of
from steer.jobs.job import Each
from steer.jobs.run import Spread, run
from steer.lm.prompts import as_texts
from steer.lm.remote import Remote, check_remote, ran_at
from steer.lm.remote_jobs import one_call
from steer.model import Model
from steer.progress import Progress

__all__ = ["DoseResponse", "dose_response"]


@one_call()
def dose_response(
    model: Model,
    prompts: Sequence[str] | str,
    dictionary: Dictionary,
    feature: int,
    doses: Sequence[Value],
    *,
    metric: Metric | str | Sequence[Metric] = "kl",
    edit: Callable[..., Edit] = Clamp,
    positions: Positions = TEXT,
    neutral: Sequence[str] | str = (),
    continuation: int = 0,
    seed: int = 0,
    file: str | Path | None = None,
    shard: str | None = None,
    executor: str | Executor | None = None,
    remote: Remote = False,
    progress: Progress | None = None,
) -> DoseResponse:
    """Every dose of one feature's edit on every prompt, all doses of a prompt in one batch.

    edit: called as edit(feature, dose, positions=…); `Clamp` or `Add`.
    neutral: texts that ΔCE is measured on for `strongest`; the prompts by default.
    continuation: how many tokens to write under each dose, at temperature 0.7 and with the same
        noise for all, for `loss` and `distinct`.
    file, shard, executor, remote: as `ablation_sweep` has them; of a shard, NaN where another's
        texts are. What is written is read here, for `loss`.

    Raises `SteerError` for no doses, and what `Model.plans` and `Model.tokenize` raise.
    """
    if isinstance(doses, str) or not isinstance(doses, Sequence):
        raise SteerError(f"doses is a list such as [-2, 0, 2] or ['1x max'], not {doses!r}")
    if not doses:
        raise SteerError("no doses were given; give some, such as [-2, 0, 2] or ['1x max']")
    check_remote(model.nn, remote, executor=executor)
    check_dictionary(dictionary)
    dictionary.check_features([feature])
    texts = as_texts(prompts)
    asked = Doses(
        prompts=texts,
        measures=tuple(as_metrics(model, metric, len(texts))),
        neutral=as_texts(neutral) if neutral else (),
        dictionary=dictionary,
        edits=tuple(edit(feature, dose, positions=positions) for dose in doses),
        continuation=continuation,
        seed=seed,
        remote=remote,
    )
    spread = Spread.of(file, shard, executor_of(executor))
    count = len(texts) + len(asked.neutral)
    job = Each("doses", "trying doses", "text", count, asked.rows)
    rows = run(job, model, spread, _header(model, asked), progress)
    columns = _columns(rows, asked)
    priced = _priced(rows, asked)
    columns[NEUTRAL] = columns.get(NEUTRAL, columns["delta_ce"]).where(priced, torch.nan)
    name = type(asked.measures[0]).__name__
    return DoseResponse(
        feature,
        tuple(doses),
        texts,
        name,
        model.precision,
        **columns,
        shard=shard or "",
        remote=ran_at(remote),
    )


def _columns(rows: Sequence[Row], asked: Doses) -> dict[str, Tensor]:
    """Each measure as [doses, texts]."""
    names = [*MEASURES, *(WRITTEN if asked.continuation else ())]
    sizes = dict.fromkeys(names, len(asked.prompts))
    if asked.neutral:
        sizes[NEUTRAL] = len(asked.neutral)
    columns = {
        name: torch.full((len(asked.edits), size), torch.nan, dtype=torch.float64)
        for name, size in sizes.items()
    }
    for row in rows:
        text = row["prompt"] if "prompt" in row else row["neutral"]
        for name in row.keys() & columns.keys():
            columns[name][row["dose"], text] = row[name]
    return columns


def _priced(rows: Sequence[Row], asked: Doses) -> Tensor:
    """Whether each text that doses are priced on has a price, [texts]."""
    kind, texts = ("neutral", asked.neutral) if asked.neutral else ("prompt", asked.prompts)
    known = {row[kind]: row[PRICED] for row in rows if kind in row}
    return torch.tensor([known.get(number, False) for number in range(len(texts))])


def _header(model: Model, asked: Doses) -> dict[str, Any]:
    """What is measured: a file of something else is refused."""
    where = {"remote": ran_at(asked.remote)} if asked.remote else {}
    return {
        **where,
        "dose_response": 2,
        "model": model.fingerprint,
        "dtype": model.precision,
        "dictionary": dictionary_content(asked.dictionary),
        "edits": [edit.to_dict() for edit in asked.edits],
        "texts_and_metrics": digest(
            [asked.prompts, asked.neutral, [measure.to_dict() for measure in asked.measures]]
        ),
        "continuation": [asked.continuation, asked.seed],
    }
