"""The second half of E9: what clamping a feature does to text that has nothing to do with it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from apps.studies.ioi_prompts import Pair
from dictionaries.dictionary import Dictionary
from steer.edits import Clamp, Intervention
from steer.effects.controls.matching import matched_features
from steer.effects.controls.trials import Trial, matched_trials, random_trials
from steer.effects.metric import Divergence, Reference
from steer.effects.passes.changes import clean_for, edit_delta
from steer.effects.passes.clean import Clean, Edited
from steer.model import Model

CONTROLS = ("edit", "random", "matched")
FIGURES = ("kl", "kl_per_norm", "norm", "delta_ce", "top1", "ioi")


@dataclass(frozen=True)
class Spilled:
    """Means over texts and draws of one kind of edit of one feature.

    kl: KL(clean‖edited) at the last token of the passages, in nats; kl_per_norm: per ‖Δx‖ there.
    delta_ce, top1: rise of the loss and of the share of tokens guessed right, at tokens that the
        feature does not promote.
    ioi: share of indirect objects that are put above the subject.
    density: share of tokens at which the feature is active, or on average those in its place; None
        for random directions.
    """

    feature: int
    control: str
    kl: float
    kl_per_norm: float
    norm: float
    delta_ce: float
    top1: float
    ioi: float
    density: float | None


def spillover(
    model: Model,
    dictionary: Dictionary,
    feature: int,
    passages: Sequence[str],
    pairs: Sequence[Pair],
    *,
    value: str | float = "1x max",
    draws: int = 4,
    seed: int = 0,
) -> list[Spilled]:
    """The clamp at every token but the first, random directions of its norm at every token, and
    other features of about its density with its norm."""
    assert dictionary.statistics is not None
    related = torch.unique(dictionary.statistics.promoted[feature])
    rows: list[tuple[str, dict[str, float]]] = []
    for passage in passages:
        clean, trials = _trials(model, dictionary, feature, passage, value, draws, seed)
        rows += _on_passage(clean, trials, related)
    for pair in pairs:
        clean, trials = _trials(model, dictionary, feature, pair.prompt, value, draws, seed)
        rows += _on_pair(model, clean, trials, pair)
    spilled = []
    for control in CONTROLS:
        means = {}
        for name in FIGURES:
            values = [figures[name] for arm, figures in rows if arm == control and name in figures]
            means[name] = sum(values) / len(values) if values else math.nan
        spilled.append(Spilled(feature, control, **means, density=_density(trials, control)))
    return spilled


def _density(trials: Sequence[Trial], control: str) -> float | None:
    known = [t.density for t in trials if t.control == control and t.density is not None]
    return sum(known) / len(known) if known else None


def _trials(
    model: Model,
    dictionary: Dictionary,
    feature: int,
    text: str,
    value: str | float,
    draws: int,
    seed: int,
) -> tuple[Clean, list[Trial]]:
    edit = Intervention(dictionary.name, [Clamp(feature, value, positions="1:")])
    (plan,) = model.plans([edit], [dictionary])
    ids, _ = model.tokenize([text])
    clean = clean_for(model, ids[0], dictionary, every=True)
    delta, sign = edit_delta(clean, plan)
    others = matched_features(clean, dictionary, [feature], draws, seed)
    return clean, [
        Trial("edit", 0, feature, delta, others.density if others else None),
        *random_trials(delta, draws, seed + feature),
        *matched_trials(delta, dictionary, others.others if others else (), sign),
    ]


def _run(clean: Clean, trials: Sequence[Trial], every: bool) -> Edited:
    delta = torch.stack([trial.delta for trial in trials]).to(clean.x.dtype)
    return clean.resume(delta, every=every)


@torch.inference_mode()
def _on_passage(
    clean: Clean, trials: Sequence[Trial], related: Tensor
) -> list[tuple[str, dict[str, float]]]:
    edited = _run(clean, trials, every=True)
    before_it = clean.logits[: edited.start].expand(len(trials), -1, -1)
    logits = torch.cat([before_it, edited.logits], dim=1)
    reference = Reference.of(clean.logits, clean.ids, 0, every=True)
    kl = Divergence().change(logits[:, -1:], reference)
    following = reference.following[:-1]
    unrelated = ~torch.isin(following, related.to(following))
    before, after = (
        _guesses(scores, following[unrelated], unrelated)
        for scores in (reference.logits.unsqueeze(0), logits)
    )
    rows = []
    for number, trial in enumerate(trials):
        norm = trial.delta[-1].double().norm().item()
        figures = {"kl": kl[number].item(), "norm": norm}
        if norm > 0:
            figures["kl_per_norm"] = figures["kl"] / norm
        if unrelated.any():
            figures["delta_ce"] = (after[0][number] - before[0][0]).item()
            figures["top1"] = (after[1][number] - before[1][0]).item()
        rows.append((trial.control, figures))
    return rows


def _guesses(logits: Tensor, following: Tensor, where: Tensor) -> tuple[Tensor, Tensor]:
    """Mean loss and share guessed right of each row [b], from logits [b, p, V] at p − 1 tokens."""
    chosen = logits[:, :-1][:, where].float()
    targets = following.expand(len(chosen), -1)
    log_p = chosen.log_softmax(-1).gather(-1, targets.unsqueeze(-1)).squeeze(-1)
    return -log_p.mean(1), (chosen.argmax(-1) == targets).float().mean(1)


@torch.inference_mode()
def _on_pair(
    model: Model, clean: Clean, trials: Sequence[Trial], pair: Pair
) -> list[tuple[str, dict[str, float]]]:
    last = _run(clean, trials, every=False).logits[:, -1]
    answer, subject = model.token_id(pair.answer), model.token_id(pair.subject)
    right = (last[:, answer] > last[:, subject]).double().tolist()
    return [(trial.control, {"ioi": value}) for trial, value in zip(trials, right, strict=True)]
