"""Fitting how far pushes move the behaviours of the panel: what else an edit will move.

The change of right minus wrong is a linear part of the push, through the mean gradient over copies
that are themselves pushed (of all linear maps of pushes the one that is least wrong, were these
normal), and a part that grows with the KL: whatever disturbs the model lessens what it can do.
How much of each is fitted on features that are really pushed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from dictionaries.beside.behaviours import BehaviourMap
from dictionaries.dictionary import Dictionary
from steer.effects.passes.clean import Clean, run_clean
from steer.errors import InterventionError
from steer.forecasts.fit import median_norm, site_written, unit_rows
from steer.lm.passes import resumed
from steer.maths.metrics import kl
from steer.maths.precision import exact
from steer.model import Model
from steer.progress import Progress
from steer.runs.explain import NEUTRAL
from steer.verdicts.panel import PANEL, Behaviour

SHARES = (0.15, 0.3, 0.6)
"""Lengths of the pushes, of the stream's median norm: each feature has one of them."""
FEATURES = 40
"""Of a dictionary, pushed to weigh the two parts."""
COPIES = 4
"""Pushed copies of a question that the gradient is averaged over."""
_ROWS, _WHOLE = 64, 8
"""Pushes at once, where the last token is read and where all are."""

Question = tuple[str, int, int]


def read(model: Model, behaviour: Behaviour) -> list[Question]:
    """Its questions with the ids of the right and the wrong token.

    Raises `InterventionError` where one is not a single token of the model.
    """
    return [(p, model.token_id(r), model.token_id(w)) for p, r, w in behaviour.questions]


def pushes_of(model: Model, dictionary: Dictionary, features: Sequence[int]) -> Tensor:
    """The features' directions [n, d], the lengths dealt out in turn."""
    norm, units = median_norm(model, dictionary), unit_rows(dictionary, features)
    lengths = torch.tensor([SHARES[number % len(SHARES)] * norm for number in range(len(units))])
    return units.cpu() * lengths[:, None]


@torch.inference_mode()
def disturbance(
    model: Model, dictionary: Dictionary, pushes: Tensor, text: str = NEUTRAL
) -> Tensor:
    """KL(clean‖edited) [n] of pushes at every token, mean over all tokens but the first."""
    clean = _clean(model, dictionary, text, every=True)
    later = slice(min(1, clean.length - 1), None)
    before = exact(clean.logits[later])
    divergences = [
        kl(before, exact(clean.resume(_everywhere(clean, part), every=True).logits[:, later]))
        for part in pushes.split(_WHOLE)
    ]
    return torch.cat(divergences).mean(1).cpu()


def readable(model: Model, panel: Sequence[Behaviour] = PANEL) -> tuple[Behaviour, ...]:
    """Those whose words are single tokens of the model, and not both the unknown one."""
    return tuple(
        behaviour
        for behaviour in panel
        if all(_told_apart(model, *pair) for _, *pair in behaviour.questions)
    )


def _told_apart(model: Model, right: str, wrong: str) -> bool:
    ids = [model.tokenizer(word, add_special_tokens=False)["input_ids"] for word in (right, wrong)]
    return all(len(tokens) == 1 for tokens in ids) and ids[0] != ids[1]


def digest(panel: Sequence[Behaviour] = PANEL) -> str:
    """Of the questions, to know a map of others by."""
    told = json.dumps([behaviour.to_dict() for behaviour in panel], sort_keys=True)
    return hashlib.sha256(told.encode()).hexdigest()[:12]


@torch.inference_mode()
def moved(
    model: Model,
    dictionary: Dictionary,
    pushes: Tensor,
    panel: Sequence[Behaviour] = PANEL,
    progress: Progress | None = None,
) -> Tensor:
    """What pushes [n, d] at every token really do to right minus wrong, [n, behaviours]."""
    columns = []
    for number, behaviour in enumerate(panel):
        questions = read(model, behaviour)
        changes = [_changes(model, dictionary, pushes, question) for question in questions]
        columns.append(torch.stack(changes).mean(0))
        if progress:
            progress("behaviours", number + 1, len(panel))
    return torch.stack(columns, dim=1)


def slopes(
    model: Model,
    dictionary: Dictionary,
    pushes: Tensor,
    panel: Sequence[Behaviour] = PANEL,
    *,
    seed: int = 0,
) -> Tensor:
    """Mean gradient [behaviours, d] of right minus wrong by a push at every token.

    pushes [n, d]: what copies are pushed by, `COPIES` of them a question, drawn by the seed.
    """
    generator = torch.Generator().manual_seed(seed)
    rows = []
    for behaviour in panel:
        total = torch.zeros(pushes.shape[1], dtype=torch.float64)
        for question in (questions := read(model, behaviour)):
            drawn = torch.randperm(len(pushes), generator=generator)[:COPIES]
            total += _gradient(model, dictionary, pushes[drawn], question)
        rows.append(total / len(questions))
    return torch.stack(rows).float()


def weighted(pushes: Tensor, nats: Tensor, mean: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
    """Slopes [b, d] and costs [b] of the least squares between truth [n, b] and its two parts.

    mean [b, d]: gradients; nats [n]: KL. Each push is divided by √KL, so that large ones do not
    decide alone.
    """
    linear, nats = pushes.double() @ mean.double().T, nats.double()
    size = nats.sqrt()[:, None]
    solved = [
        torch.linalg.lstsq(torch.stack([part, nats], 1) / size, true[:, None] / size).solution
        for part, true in zip(linear.T, truth.double().T, strict=True)
    ]
    weights, costs = torch.stack(solved)[..., 0].T
    return (weights[:, None] * mean.double()).float(), costs.float()


def fit(
    model: Model,
    dictionary: Dictionary,
    features: Sequence[int],
    *,
    panel: Sequence[Behaviour] = PANEL,
    neutral: str = NEUTRAL,
    progress: Progress | None = None,
) -> BehaviourMap:
    """From features that are really pushed.

    neutral: the sentence that `explain` measures the KL on. Forecasts have no intervals: those take
        scores on other features.
    Raises `InterventionError` for fewer than two features, and where the behaviours' words are not
    single tokens of the model.
    """
    if len(features) < 2:
        raise InterventionError(f"{len(features)} features are too few: give two or more")
    dictionary.check_features(list(features))
    pushes = pushes_of(model, dictionary, features)
    mean = slopes(model, dictionary, pushes, panel)
    truth = moved(model, dictionary, pushes, panel, progress)
    nats = disturbance(model, dictionary, pushes, neutral)
    scaled, costs = weighted(pushes, nats, mean, truth)
    names = tuple(behaviour.name for behaviour in panel)
    return BehaviourMap(names, scaled, costs, (), model.fingerprint, digest(panel))


def fit_and_keep(
    model: Model,
    dictionary: Dictionary,
    folder: Path,
    *,
    panel: Sequence[Behaviour] = PANEL,
    progress: Progress | None = None,
) -> tuple[str, ...]:
    """Fit on features drawn at random, and keep the map in the folder; names of the behaviours.

    Those whose words the model does not know are left out; none at all is no map.
    """
    known = readable(model, panel)
    if not known:
        return ()
    drawn = torch.randperm(dictionary.width, generator=torch.Generator().manual_seed(0))
    fitted = fit(model, dictionary, drawn[:FEATURES].tolist(), panel=known, progress=progress)
    fitted.save(folder)
    return fitted.names


def _clean(model: Model, dictionary: Dictionary, prompt: str, *, every: bool = False) -> Clean:
    ids, _ = model.tokenize([prompt])
    return run_clean(model, ids[0], model.site(site_written(model, dictionary)), every=every)


def _changes(model: Model, dictionary: Dictionary, pushes: Tensor, question: Question) -> Tensor:
    """Of right minus wrong at the question's last token, [n]."""
    prompt, right, wrong = question
    clean = _clean(model, dictionary, prompt)

    def gap(logits: Tensor) -> Tensor:
        last = exact(logits[..., -1, :])
        return last[..., right] - last[..., wrong]

    gaps = [gap(clean.resume(_everywhere(clean, part)).logits) for part in pushes.split(_ROWS)]
    return (torch.cat(gaps) - gap(clean.logits)).cpu()


def _gradient(model: Model, dictionary: Dictionary, pushes: Tensor, question: Question) -> Tensor:
    """Mean over the pushed copies, summed over the tokens, [d]."""
    prompt, right, wrong = question
    clean = _clean(model, dictionary, prompt)
    delta = _everywhere(clean, pushes)
    begin = clean.start(delta)

    def gap(logits: Tensor) -> Tensor:
        last = exact(logits[:, -1])
        return last[:, right] - last[:, wrong]

    with model.lock:
        values, slope = resumed.gradient(model.nn, begin, clean.x + delta, gap)
    clean.check(delta, torch.cat([values.unsqueeze(-1), slope.flatten(1)], dim=-1))
    return slope.double().sum(1).mean(0).cpu()


def _everywhere(clean: Clean, pushes: Tensor) -> Tensor:
    return pushes[:, None].expand(-1, clean.length, -1).to(clean.x)
