"""The exact effect of an edit on each of many features, one feature at a time.

Asked naively, that is one forward pass a feature. Here each prompt's clean pass is run once, only
blocks above the site run again, only from the first position that an edit changes, many edits as
rows of one batch; and a feature that is silent on a prompt is not run at all: its effect there is
exactly 0.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from dictionaries.dictionary import Dictionary
from steer.disk.content import dictionary_content
from steer.edits import Ablate
from steer.edits.positions import Positions
from steer.effects.defaults import BUDGET, TEXT
from steer.effects.metric import Metric, as_metrics
from steer.effects.sweep.controls import Against
from steer.effects.sweep.prepared import EditOf
from steer.effects.sweep.result import PairSweep, Sweep
from steer.effects.sweep.screen import Screen, screened
from steer.effects.sweep.units import Asked, Effects, Pairs, controls
from steer.errors import SteerError
from steer.features.fit import check_dictionary
from steer.jobs.executors import Executor, executor_of
from steer.jobs.run import Spread, run
from steer.lm.prompts import as_texts
from steer.lm.remote import Remote, check_remote, ran_at
from steer.lm.remote_jobs import one_call
from steer.maths.numbers import check_whole
from steer.model import Model
from steer.progress import Progress


@one_call()
def ablation_sweep(
    model: Model,
    prompts: Sequence[str] | str,
    dictionary: Dictionary,
    features: str | Sequence[int] = "active",
    *,
    metric: Metric | str | Sequence[Metric] = "kl",
    edit: EditOf = Ablate,
    positions: Positions = TEXT,
    budget: int = BUDGET,
    most_tokens: int | None = None,
    block: int = 256,
    screen: Screen | None = None,
    against: Against | None = None,
    file: str | Path | None = None,
    shard: str | None = None,
    executor: str | Executor | None = None,
    remote: Remote = False,
    progress: Progress | None = None,
) -> Sweep:
    """The effect of editing each feature alone, on each prompt.

    features: `active` (at one of the positions), `all`, or ids.
    metric: `kl` (clean‖edited, at the last token), `loss`, a `Metric`, or one a prompt.
    edit: what to do to each feature; ablation by default.
    budget: bytes of tensors that the sweep may hold beside the model.
    most_tokens: rows × tokens of a batch at most; by default where more are no faster.
    block: features of a prompt that are one unit of work at most: what is lost where it stops.
    screen: run only features that could be among the largest, as one backward pass a prompt ranks
        them; see `Screen`.
    against: controls to run for the features with the largest effects; see `Against`.
    file: where rows are written as they are found; a sweep that stopped is continued from it.
    shard: such as `2/3`, to run one of three parts into its file: `steer merge` joins them. No
        controls then, whose features are known once all are there: give the merged file.
    executor: `ray`, or `steer.jobs.ray.Ray(address)`, to spread it over many processes.
    remote: as for `Model.generate`, of the edited passes: a job is a batch of them, and what was
        sent is not sent again, also after this process has ended (`steer jobs`).

    Raises `SteerError` for an unknown metric or a file of another sweep, and what `Model.plans`
    and `Model.tokenize` raise.
    """
    for name, given, kind in (("screen", screen, Screen), ("against", against, Against)):
        if not isinstance(given, kind | None):
            raise SteerError(f"{name}={given!r} is not allowed: give steer.{kind.__name__}(…)")
    asked = _asked(
        model, prompts, dictionary, features, metric, edit, positions, budget, block, most_tokens
    )
    check_remote(model.nn, remote, screen=screen, executor=executor)
    asked = replace(asked, remote=remote)
    header = {"sweep": 2, **_header(model, asked)}
    header["against"] = None if against is None else asdict(against)
    spread = Spread.of(file, shard, executor_of(executor))
    done = None
    if screen is None:
        rows = run(Effects(asked), model, spread, header, progress)
    else:
        if not spread.whole:
            raise SteerError(
                "a screen can't be split into shards: what is run next depends on all before; "
                "leave one of the two out"
            )
        header["screen"] = {"version": 2, **asdict(screen)}
        rows, done = screened(model, asked, screen, spread, header, progress)
    sweep = Sweep(
        rows=tuple(sorted(rows, key=lambda row: (row["prompt"], row["feature"]))),
        prompts=asked.prompts,
        dictionary=dictionary.name,
        metric=type(asked.measures[0]).__name__,
        edit=str(header["edit"]["kind"]),
        dtype=model.precision,
        shard=shard or "",
        screened=done,
        remote=ran_at(remote),
    )
    if against is None or not spread.whole:
        return sweep
    tested = replace(asked, features=sweep.largest(against.tested))
    compared = run(controls(tested, against), model, spread, header, progress)
    return replace(sweep, controls=tuple(compared))


@one_call()
def pair_sweep(
    model: Model,
    prompts: Sequence[str] | str,
    dictionary: Dictionary,
    features: Sequence[int],
    *,
    metric: Metric | str | Sequence[Metric] = "kl",
    edit: EditOf = Ablate,
    positions: Positions = TEXT,
    budget: int = BUDGET,
    block: int = 1024,
    file: str | Path | None = None,
    shard: str | None = None,
    executor: str | Executor | None = None,
    remote: Remote = False,
    progress: Progress | None = None,
) -> PairSweep:
    """Interactions: the joint effect of each pair of features minus the sum of the two alone.

    block: pairs of a unit of work at most; file, shard, executor, remote: as `ablation_sweep` has
        them.
    Raises as `ablation_sweep`, and `SteerError` for fewer than two features.
    """
    if len(set(features)) < 2:
        raise SteerError(f"features {list(features)}: a pair needs at least two different ones")
    chosen = list(dict.fromkeys(features))
    asked = _asked(model, prompts, dictionary, chosen, metric, edit, positions, budget, block)
    check_remote(model.nn, remote, executor=executor)
    asked = replace(asked, remote=remote)
    header = {"pair_sweep": 1, **_header(model, asked)}
    spread = Spread.of(file, shard, executor_of(executor))
    rows = run(Pairs(asked), model, spread, header, progress)
    metric_name = type(asked.measures[0]).__name__
    return PairSweep(
        rows=tuple(rows),
        prompts=asked.prompts,
        dictionary=dictionary.name,
        metric=metric_name,
        shard=shard or "",
        remote=ran_at(remote),
    )


def _asked(
    model: Model,
    prompts: Sequence[str] | str,
    dictionary: Dictionary,
    features: str | Sequence[int],
    metric: Metric | str | Sequence[Metric],
    edit: EditOf,
    positions: Positions,
    budget: int,
    block: int,
    most_tokens: int | None = None,
) -> Asked:
    check_whole("budget", budget, least=1)
    check_whole("block", block, least=1)
    check_dictionary(dictionary)
    chosen: Any = getattr(features, "tolist", lambda: features)()
    if not isinstance(chosen, str):
        if not isinstance(chosen, Sequence):
            raise SteerError(f"features={features!r} is not allowed: give active, all, or a list")
        dictionary.check_features(chosen)
    texts = as_texts(prompts)
    measures = tuple(as_metrics(model, metric, len(texts)))
    return Asked(texts, measures, dictionary, chosen, edit, positions, budget, block, most_tokens)


def _header(model: Model, asked: Asked) -> dict[str, Any]:
    """What a sweep measures: a file of another one is refused."""
    described = asked.edit(0, positions=asked.positions).to_dict()
    described.pop("feature", None)
    measured = repr((asked.prompts, [metric.to_dict() for metric in asked.measures]))
    features = asked.features
    where = {"remote": ran_at(asked.remote)} if asked.remote else {}
    return {
        **where,
        "model": model.fingerprint,
        "dtype": model.precision,
        "dictionary": dictionary_content(asked.dictionary),
        "features": features if isinstance(features, str) else list(features),
        "edit": described,
        "prompts_and_metrics": hashlib.sha256(measured.encode()).hexdigest()[:16],
        "block": asked.block,
    }
