"""The exact effect of an edit on each of many features, one feature at a time.

Asked naively, that is one forward pass a feature. Here each prompt's clean pass is run once, only
blocks above the site run again, only from the first position that an edit changes, many edits as
rows of one batch; and a feature that is silent on a prompt is not run at all: its effect there is
exactly 0.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor

from dictionaries.base import Dictionary
from steer.cache import Progress
from steer.edits import Ablate, Edit
from steer.effects.changes import Changes, clean_for, encode_clean, read_changes
from steer.effects.clean import Clean
from steer.effects.ledger import Ledger
from steer.effects.memory import Cost, measured
from steer.effects.metric import Metric, Reference, as_metrics
from steer.effects.sweep_result import PairSweep, Sweep
from steer.errors import SteerError
from steer.positions import Positions

if TYPE_CHECKING:
    from steer.model import Model

BUDGET = 512 * 2**20
TEXT = "1:"
"""Every token but the first. Its massive activation sets off thousands of features that were not
trained on it: 5,061 of 6,144 at block 20 of the default model, against 746 at all other tokens."""
_ENOUGH_TOKENS = {"cpu": 2048}
"""Rows × tokens from which a larger batch is no faster; smaller ones start later in the prompt."""


class EditOf(Protocol):
    """Makes the edit of a feature: `Ablate`, or `functools.partial(Clamp, value="5x max")`."""

    def __call__(self, feature: int, /, *, positions: Positions) -> Edit: ...


@dataclass(frozen=True, eq=False)
class Prepared:
    """A prompt ready to be swept: clean pass, metric, and the changes of `features`."""

    number: int
    clean: Clean
    metric: Metric
    features: list[int]
    changes: Changes

    def effects(self, sets: Sequence[Sequence[int]]) -> Tensor:
        """Change of the metric under each set of edits (by index), [b]."""
        delta = self.changes.delta(sets, self.clean.x.dtype)
        edited = self.clean.resume(delta, every=self.metric.every)
        return self.measure(edited.logits, edited.start)

    def measure(self, logits: Tensor, start: int) -> Tensor:
        """Change of the metric, [b], from logits [b, p, V]."""
        clean, every = self.clean, self.metric.every
        reference = Reference.of(clean.logits, clean.ids, start, every)
        with torch.inference_mode():
            return self.metric.change(logits, reference)

    def cost(self) -> Cost:
        """Bytes of a batch, from three small ones."""
        clean = self.clean

        def peak(rows: int, tokens: int) -> int:
            with measured(clean.ids.device) as found:
                delta = self.changes.delta([(0,)] * rows, clean.x.dtype)
                delta[:, : clean.length - tokens] = 0
                delta[:, clean.length - tokens] = 1e-3
                edited = clean.resume(delta, every=self.metric.every)
                self.measure(edited.logits, edited.start)
            return found.bytes

        return Cost.fit(peak, clean.length)


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
    file: str | Path | None = None,
    progress: Progress | None = None,
) -> Sweep:
    """The effect of editing each feature alone, on each prompt.

    features: `active` (at one of the positions), `all`, or ids.
    metric: `kl` (clean‖edited, at the last token), `loss`, a `Metric`, or one a prompt.
    edit: what to do to each feature; ablation by default.
    budget: bytes of tensors that the sweep may hold beside the model.
    most_tokens: rows × tokens of a batch at most; by default where more are no faster.
    file: where rows are written as they are found; a sweep that stopped is continued from it.

    Raises `SteerError` for an unknown metric or a file of another sweep, and what `Model.plans`
    and `Model.tokenize` raise.
    """
    texts = (prompts,) if isinstance(prompts, str) else tuple(prompts)
    measures = as_metrics(model, metric, len(texts))
    header = _header(model, texts, dictionary, features, measures, edit, positions)
    ledger = Ledger(None if file is None else Path(file), header)
    rows = ledger.read()
    done = {(row["prompt"], row["feature"]) for row in rows}
    for number, text in enumerate(texts):
        with measured(model.device) as used:
            ready = _prepare(
                model, text, number, measures[number], dictionary, features, edit, positions
            )
        acting = (ready.changes.first < ready.clean.length).tolist()
        left = [i for i, f in enumerate(ready.features) if acting[i] and (number, f) not in done]
        finished = len(ready.features) - len(left)
        for batch in batches(ready, [(i,) for i in left], budget - used.held, most_tokens):
            found = _rows(ready, [i for (i,) in batch], ready.effects(batch))
            ledger.append(found)
            rows += found
            finished += len(batch)
            if progress:
                share = int(1000 * (number + finished / max(len(ready.features), 1)))
                progress(f"sweeping: prompt {number + 1} of {len(texts)}", share, 1000 * len(texts))
    return Sweep(
        rows=tuple(sorted(rows, key=lambda row: (row["prompt"], row["feature"]))),
        prompts=texts,
        dictionary=dictionary.name,
        metric=type(measures[0]).__name__,
        edit=str(header["edit"]["kind"]),
        dtype=model.dtype,
    )


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
    texts = (prompts,) if isinstance(prompts, str) else tuple(prompts)
    measures = as_metrics(model, metric, len(texts))
    chosen = list(dict.fromkeys(features))
    pairs = list(combinations(range(len(chosen)), 2))
    found: list[dict[str, Any]] = []
    for number, text in enumerate(texts):
        ready = _prepare(model, text, number, measures[number], dictionary, chosen, edit, positions)
        wanted: list[tuple[int, ...]] = [(i,) for i in range(len(chosen))] + list(pairs)
        effect: dict[tuple[int, ...], float] = {}
        for batch in batches(ready, wanted, budget):
            effect |= dict(zip(batch, ready.effects(batch).tolist(), strict=True))
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


def batches(
    ready: Prepared, sets: Sequence[tuple[int, ...]], budget: int, most_tokens: int | None = None
) -> Iterator[list[tuple[int, ...]]]:
    """Sets of edits in batches that fit the budget; those that start late together."""
    if not sets:
        return
    cost, first, length = ready.cost(), ready.changes.first.tolist(), ready.clean.length
    enough = most_tokens or _ENOUGH_TOKENS.get(ready.clean.ids.device.type, 2**16)
    starts = {each: min(min(first[i] for i in each), length - 1) for each in sets}
    waiting = sorted(sets, key=starts.__getitem__)
    while waiting:
        tokens = length - starts[waiting[0]]
        size = min(cost.rows(budget, tokens), max(1, enough // tokens))
        yield waiting[:size]
        waiting = waiting[size:]


def _prepare(
    model: Model,
    text: str,
    number: int,
    metric: Metric,
    dictionary: Dictionary,
    features: str | Sequence[int],
    edit: EditOf,
    positions: Positions,
) -> Prepared:
    ids, _ = model.tokenize([text])
    clean = clean_for(model, ids[0], dictionary, every=metric.every)
    chosen = _chosen(clean, dictionary, features, positions)
    edits = [edit(feature, positions=positions) for feature in chosen]
    changes = read_changes(clean, dictionary, edits)
    if isinstance(features, str):
        acting = (changes.amount != 0).any(0).nonzero().flatten().tolist()
        chosen = [chosen[i] for i in acting]
        changes = changes.only(acting)
    return Prepared(number, clean, metric, chosen, changes)


def _chosen(
    clean: Clean, dictionary: Dictionary, features: str | Sequence[int], positions: Positions
) -> list[int]:
    if not isinstance(features, str):
        return list(dict.fromkeys(int(feature) for feature in features))
    match features:
        case "active":
            touched = clean.touched(positions)
            active = (encode_clean(clean, dictionary)[touched] != 0).any(0)
            return active.nonzero().flatten().tolist()
        case "all":
            return list(range(dictionary.width))
        case _:
            raise SteerError(f"features={features!r} is unknown; allowed: active, all, or ids")


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
    }
