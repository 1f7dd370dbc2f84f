"""How an effect grows with its dose, and what the doses do to text."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from dictionaries.dictionary import Dictionary
from steer.edits import Clamp, Edit, Intervention, Value
from steer.edits.positions import Positions
from steer.effects.defaults import TEXT
from steer.effects.dose.result import MEASURES, NEUTRAL, WRITTEN, DoseResponse
from steer.effects.metric import Divergence, Loss, Metric, Reference, as_metrics
from steer.effects.passes.changes import clean_for, read_changes
from steer.effects.passes.clean import Clean
from steer.errors import SteerError
from steer.lm.continuations import Continuation
from steer.lm.prompts import as_texts
from steer.maths.precision import exact
from steer.model import Model
from steer.runs.fluency import distinct_pairs, losses

__all__ = ["DoseResponse", "dose_response"]


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
    neutral: Sequence[str] = (),
    continuation: int = 0,
    seed: int = 0,
) -> DoseResponse:
    """Every dose of one feature's edit on every prompt, all doses of a prompt in one batch.

    edit: called as edit(feature, dose, positions=…); `Clamp` or `Add`.
    neutral: texts that ΔCE is measured on for `strongest`; the prompts by default.
    continuation: how many tokens to write under each dose, at temperature 0.7 and with the same
        noise for all, for `loss` and `distinct`.

    Raises `SteerError` for no doses, and what `Model.plans` and `Model.tokenize` raise.
    """
    if not doses:
        raise SteerError("no doses were given; give some, such as [-2, 0, 2] or ['1x max']")
    texts = as_texts(prompts)
    measures = as_metrics(model, metric, len(texts))
    edits = [edit(feature, dose, positions=positions) for dose in doses]
    found: dict[str, list[Tensor]] = {name: [] for name in MEASURES}
    for number, text in enumerate(texts):
        clean, delta = _deltas(model, text, dictionary, edits)
        changes = _changes(clean, delta, (measures[number], Divergence(), Loss()))
        touched = clean.touched(positions)
        share = exact(delta).norm(dim=-1) / exact(clean.x).norm(dim=-1)
        changes.append(share[:, touched].mean(1))
        for name, values in zip(MEASURES, changes, strict=True):
            found[name].append(values)
    if neutral:
        found[NEUTRAL] = [
            _changes(*_deltas(model, text, dictionary, edits), (Loss(),))[0] for text in neutral
        ]
    else:
        found[NEUTRAL] = found["delta_ce"]
    if continuation:
        found |= _written(model, texts, dictionary, edits, continuation, seed)
    columns = {
        name: torch.stack([each.double().cpu() for each in values], dim=1)
        for name, values in found.items()
    }
    return DoseResponse(feature, tuple(doses), texts, type(measures[0]).__name__, **columns)


def _deltas(
    model: Model, text: str, dictionary: Dictionary, edits: Sequence[Edit]
) -> tuple[Clean, Tensor]:
    """A clean pass, and Δ [doses, s, d]."""
    ids, _ = model.tokenize([text])
    clean = clean_for(model, ids[0], dictionary, every=True)
    several = [
        read_changes(clean, dictionary, [each]).delta([(0,)], clean.x.dtype) for each in edits
    ]
    return clean, torch.cat(several)


def _changes(clean: Clean, delta: Tensor, metrics: Sequence[Metric]) -> list[Tensor]:
    """The change of each metric under every row of Δ, [doses] each."""
    edited = clean.resume(delta, every=True)
    found = []
    with torch.inference_mode():
        for each in metrics:
            reference = Reference.of(clean.logits, clean.ids, edited.start, each.every)
            logits = edited.logits if each.every else edited.logits[:, -1:]
            found.append(each.change(logits, reference))
    return found


def _written(
    model: Model,
    prompts: Sequence[str],
    dictionary: Dictionary,
    edits: Sequence[Edit],
    tokens: int,
    seed: int,
) -> dict[str, list[Tensor]]:
    """Loss and distinct pairs of what is written after each prompt, [doses] each."""
    found: dict[str, list[Tensor]] = {name: [] for name in WRITTEN}
    for prompt in prompts:
        runs = model.generate_batch(
            [prompt],
            [Intervention(dictionary.name, [each]) for each in edits],
            max_new_tokens=tokens,
            dictionaries=[dictionary],
            seed=seed,
            if_silent="ignore",
        )
        ids = tuple(model.tokenize([prompt])[0][0].tolist())
        found["loss"].append(losses(model, [Continuation(ids, run.ids) for run in runs]))
        found["distinct"].append(torch.tensor([distinct_pairs(run.ids) for run in runs]))
    return found
