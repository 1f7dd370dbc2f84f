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
from itertools import combinations
from pathlib import Path
from typing import Any

from torch import Tensor

from dictionaries.dictionary import Dictionary
from steer.disk.ledger import Ledger
from steer.edits import Ablate
from steer.edits.positions import Positions
from steer.effects.defaults import BUDGET, TEXT
from steer.effects.metric import Metric, as_metrics
from steer.effects.sweep.controls import Against, control_rows
from steer.effects.sweep.prepared import EditOf, Prepared, effects_in_batches, prepare
from steer.effects.sweep.result import PairSweep, Sweep
from steer.errors import SteerError
from steer.lm.prompts import as_texts
from steer.maths.memory import measured
from steer.maths.numbers import check_whole
from steer.model import Model
from steer.progress import Progress


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
    against: Against | None = None,
    file: str | Path | None = None,
    progress: Progress | None = None,
) -> Sweep:
    """The effect of editing each feature alone, on each prompt.

    features: `active` (at one of the positions), `all`, or ids.
    metric: `kl` (clean‖edited, at the last token), `loss`, a `Metric`, or one a prompt.
    edit: what to do to each feature; ablation by default.
    budget: bytes of tensors that the sweep may hold beside the model.
    most_tokens: rows × tokens of a batch at most; by default where more are no faster.
    against: controls to run for the features with the largest effects; see `Against`.
    file: where rows are written as they are found; a sweep that stopped is continued from it.

    Raises `SteerError` for an unknown metric or a file of another sweep, and what `Model.plans`
    and `Model.tokenize` raise.
    """
    check_whole("budget", budget, least=1)
    texts = as_texts(prompts)
    measures = as_metrics(model, metric, len(texts))
    header = _header(model, texts, dictionary, features, measures, edit, positions, against)
    ledger = Ledger(None if file is None else Path(file), header)
    kept = ledger.read()
    rows = [row for row in kept if "effect" in row]
    controls = [row for row in kept if "control" in row]
    done = {(row["prompt"], row["feature"]) for row in rows}
    for number, text in enumerate(texts):
        with measured(model.device) as used:
            ready = prepare(
                model, text, number, measures[number], dictionary, features, edit, positions
            )
        left = [(i,) for i in ready.acting() if (number, ready.features[i]) not in done]
        finished = len(ready.features) - len(left)
        for batch, effects in effects_in_batches(ready, left, budget - used.held, most_tokens):
            more = _rows(ready, [i for (i,) in batch], effects[:, 0])
            ledger.append(more)
            rows += more
            finished += len(batch)
            if progress:
                share = int(1000 * (number + finished / max(len(ready.features), 1)))
                progress(f"sweeping: prompt {number + 1} of {len(texts)}", share, 1000 * len(texts))
        del ready
    found = Sweep(
        rows=tuple(sorted(rows, key=lambda row: (row["prompt"], row["feature"]))),
        prompts=texts,
        dictionary=dictionary.name,
        metric=type(measures[0]).__name__,
        edit=str(header["edit"]["kind"]),
        dtype=model.dtype,
    )
    if against is None:
        return found
    tested = found.largest(against.tested)
    for number, text in enumerate(texts):
        if any(row["prompt"] == number for row in controls):
            continue
        with measured(model.device) as used:
            ready = prepare(
                model, text, number, measures[number], dictionary, tested, edit, positions
            )
        more = control_rows(ready, dictionary, against, budget - used.held, most_tokens)
        ledger.append(more)
        controls += more
        if progress:
            progress("comparing with controls", number + 1, len(texts))
    return replace(found, controls=tuple(controls))


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
) -> PairSweep:
    """Interactions: the joint effect of each pair of features minus the sum of the two alone.

    Raises as `ablation_sweep`, and `SteerError` for fewer than two features.
    """
    if len(set(features)) < 2:
        raise SteerError(f"features {list(features)}: a pair needs at least two different ones")
    texts = as_texts(prompts)
    measures = as_metrics(model, metric, len(texts))
    chosen = list(dict.fromkeys(features))
    pairs = list(combinations(range(len(chosen)), 2))
    found: list[dict[str, Any]] = []
    for number, text in enumerate(texts):
        ready = prepare(model, text, number, measures[number], dictionary, chosen, edit, positions)
        wanted: list[tuple[int, ...]] = [(i,) for i in range(len(chosen))] + list(pairs)
        effect: dict[tuple[int, ...], float] = {}
        for batch, effects in effects_in_batches(ready, wanted, budget):
            effect |= dict(zip(batch, effects[:, 0].tolist(), strict=True))
        for i, j in pairs:
            found.append(
                {
                    "prompt": number,
                    "feature": chosen[i],
                    "other": chosen[j],
                    "joint": effect[i, j],
                    "sum": effect[i,] + effect[j,],
                    "interaction": effect[i, j] - effect[i,] - effect[j,],
                }
            )
    return PairSweep(tuple(found), texts, dictionary.name, type(measures[0]).__name__)


def _rows(ready: Prepared, index: Sequence[int], effects: Tensor) -> list[dict[str, Any]]:
    changes = ready.changes
    acting = (changes.amount != 0).sum(0).tolist()
    peak = changes.before.abs().amax(0).tolist()
    norm = changes.dose.norm(dim=0).tolist()
    return [
        {
            "prompt": ready.number,
            "feature": ready.features[i],
            "effect": effect,
            "activation": peak[i],
            "tokens": acting[i],
            "norm": norm[i],
        }
        for i, effect in zip(index, effects.tolist(), strict=True)
    ]


def _header(
    model: Model,
    prompts: Sequence[str],
    dictionary: Dictionary,
    features: str | Sequence[int],
    metrics: Sequence[Metric],
    edit: EditOf,
    positions: Positions,
    against: Against | None,
) -> dict[str, Any]:
    """What a sweep measures: a file of another one is refused."""
    described = edit(0, positions=positions).to_dict()
    described.pop("feature", None)
    digest = hashlib.sha256(repr((prompts, [m.to_dict() for m in metrics])).encode())
    return {
        "sweep": 1,
        "model": model.fingerprint,
        "dtype": model.dtype,
        "dictionary": [dictionary.name, dictionary.config.hookpoint, dictionary.width],
        "features": features if isinstance(features, str) else list(features),
        "edit": described,
        "prompts_and_metrics": digest.hexdigest()[:16],
        "against": None if against is None else asdict(against),
    }
