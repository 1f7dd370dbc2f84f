"""E8: erasing gender by one feature's direction, against LEACE and mean projection.

The paper's first version (arXiv 2309.08600v1) erased a concept by projecting one dictionary
direction out, and compared it with LEACE. Erasers are fitted on some names and judged on others:
how likely the right answer still is, how far the residual stream was moved, and what the same edit
does to unrelated text.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from apps.reproduce.e8_erasure.erased import Erased
from apps.reproduce.e8_erasure.prompts import (
    FAMILIES,
    MEN,
    WOMEN,
    Family,
    Prompts,
    prompts,
    split_names,
)
from apps.reproduce.e8_erasure.table import tabulate
from apps.reproduce.kept.parts import weights_of
from apps.reproduce.kept.results import parts_of_each
from apps.reproduce.result import Table
from apps.reproduce.settings import Settings
from apps.reproduce.shared.texts import passages
from dictionaries.baselines import random_directions
from dictionaries.dictionary import Dictionary
from dictionaries.erasure import leace, mean_projection
from steer.effects.passes.clean import Clean, run_clean
from steer.maths import metrics

if TYPE_CHECKING:
    from steer.model import Model

DICTIONARIES = ("smollm2-135m/resid_post.10", "smollm2-135m/resid_post.20")
RANDOMS = 3
REVISION = 1
"""Of the code below: another one does not take results from the cache."""
_FIRING = 0.01
"""A feature is considered if it is active at this share of the fitted tokens (the paper's code)."""

Erase = Callable[[Tensor], Tensor]
"""Activations [..., d] in fp32 -> the same without the concept."""


@dataclass(frozen=True, eq=False)
class Eraser:
    """method: as the table names it, random ones alike. feature: of the dictionary, if one."""

    method: str
    fitted: str
    erase: Erase
    feature: int | None = None


def run(settings: Settings) -> Table:
    """On the default model and its two dictionaries."""
    model = settings.load()
    texts = [passage.text for passage in passages(model, settings.count(20, 3), 48, settings.seed)]
    dictionaries = [model.dictionary(name) for name in DICTIONARIES]
    return erase_gender(settings, model, dictionaries, texts)


def erase_gender(
    settings: Settings,
    model: Model,
    dictionaries: Sequence[Dictionary],
    texts: Sequence[str],
    *,
    families: Sequence[Family] = FAMILIES,
    men: Sequence[str] = MEN,
    women: Sequence[str] = WOMEN,
) -> Table:
    """Every eraser, fitted on each family, on every family and on the texts."""
    fit, test = split_names(model, settings.count(40, 6, least=4), settings.seed, men, women)
    fitted, tested = [], []
    for family in families:
        # Shots are of fitted names, so that a tested name is new in every way.
        fitted.append(prompts(model, family, fit, fit, settings.count(4, 2), settings.seed))
        tested.append(
            prompts(model, family, test, fit, settings.count(2, 1, least=1), settings.seed + 1)
        )

    def made_of(dictionary: Dictionary) -> dict[str, Any]:
        return {
            "revision": REVISION,
            "model": model.fingerprint,
            "dtype": model.precision,
            "dictionary": weights_of(dictionary),
            "prompts": [part.ids.tolist() for part in (*fitted, *tested)],
            "texts": list(texts),
            "seed": settings.seed,
        }

    def find(dictionary: Dictionary) -> list[Erased]:
        return erase_at(model, dictionary, fitted, tested, texts, settings.seed)

    erased = parts_of_each(
        settings, "erasing gender", "erased", made_of, dictionaries, find, Erased
    )
    return tabulate(erased, _notes(fitted, tested, texts))


def erase_at(
    model: Model,
    dictionary: Dictionary,
    fitted: Sequence[Prompts],
    tested: Sequence[Prompts],
    texts: Sequence[str],
    seed: int,
) -> list[Erased]:
    """Erasers at the dictionary's site, of every fitted family on every tested one."""
    hookpoint = model.site_of(dictionary)
    erasers = [
        eraser
        for part in fitted
        for eraser in fit_erasers(model, dictionary, hookpoint, part, seed)
    ]
    damage = neutral_kl(model, texts, hookpoint, erasers)
    return [
        erasure for part in tested for erasure in measure(model, hookpoint, part, erasers, damage)
    ]


@torch.inference_mode()
def fit_erasers(
    model: Model, dictionary: Dictionary, hookpoint: str, fitted: Prompts, seed: int
) -> list[Eraser]:
    """All erasers from activations at the question's name and after it, labelled by gender."""
    parts = []
    for ids in fitted.ids.split(32):
        moved = ids.to(model.device)
        stream = model.collect(moved, torch.ones_like(moved), [hookpoint])[hookpoint]
        parts.append(stream[:, fitted.start :].float().cpu())
    x = torch.cat(parts)
    labels = fitted.male.repeat_interleave(x.shape[1])
    flat = x.flatten(0, 1)
    difference = flat[labels].mean(0) - flat[~labels].mean(0)
    codes = dictionary.encode(flat)[0]
    feature = nearest(dictionary, difference, (codes > 0).float().mean(0) > _FIRING)
    row = dictionary.W_dec[feature]
    only = dictionary.restrict([feature]) if dictionary.separable else dictionary
    column = 0 if dictionary.separable else feature

    def ablate(given: Tensor) -> Tensor:
        return given - only.encode(given)[0][..., column, None] * row

    name = fitted.family.name
    erasers = [
        Eraser("none", name, lambda given: given),
        Eraser("feature: direction projected out", name, project_out(row), feature),
        Eraser("feature: code ablated", name, ablate, feature),
        Eraser("LEACE", name, leace(flat, labels)),
        Eraser("mean projection", name, mean_projection(flat, labels)),
        Eraser("mean projection, through 0", name, project_out(difference)),
    ]
    for number in range(RANDOMS):
        other = random_directions(flat.shape[1], dictionary.width, seed=seed + number)
        active = torch.ones(other.width, dtype=torch.bool)
        best = other.W_dec[nearest(other, difference, active)]
        erasers.append(Eraser("random dictionary's best", name, project_out(best)))
        erasers.append(Eraser("random direction", name, project_out(other.W_dec[0])))
    return erasers


def nearest(dictionary: Dictionary, direction: Tensor, allowed: Tensor) -> int:
    """The allowed feature whose decoder row has the largest |cosine| with a direction [d].

    If none is allowed, of all.
    """
    cosine = torch.cosine_similarity(dictionary.W_dec, direction.unsqueeze(0), dim=-1).abs()
    return int((cosine.masked_fill(~allowed, -1.0) if allowed.any() else cosine).argmax())


def project_out(direction: Tensor) -> Erase:
    """x − (x·d̂) d̂."""
    unit = direction / direction.norm()
    return lambda given: given - (given @ unit).unsqueeze(-1) * unit


def measure(
    model: Model,
    hookpoint: str,
    tested: Prompts,
    erasers: Sequence[Eraser],
    damage: Tensor,
) -> list[Erased]:
    """P(correct answer of the two) and ‖Δ‖ over the erased positions, prompt by prompt."""
    site, columns = model.site(hookpoint), list(tested.answers)
    chances, norms = [], []
    for ids, correct in zip(tested.ids, tested.correct.tolist(), strict=True):
        clean = run_clean(model, ids.to(model.device), site, every=False)
        delta = changes(clean, erasers, tested.start)
        logits = clean.resume(delta.to(clean.x.dtype)).logits[:, -1]
        chances.append(logits[:, columns].double().softmax(-1)[:, correct].cpu())
        norms.append(delta.double().flatten(1).norm(dim=1).cpu())
    chance, norm = torch.stack(chances, dim=1), torch.stack(norms, dim=1)
    return [
        Erased(
            site=hookpoint,
            fitted=eraser.fitted,
            tested=tested.family.name,
            method=eraser.method,
            feature=eraser.feature,
            names=tested.names,
            chance=chance[row],
            norm=norm[row],
            kl=damage[row],
        )
        for row, eraser in enumerate(erasers)
    ]


@torch.inference_mode()
def changes(clean: Clean, erasers: Sequence[Eraser], start: int) -> Tensor:
    """Δ [erasers, s, d] from position `start` on, fp32."""
    x = clean.x.float()
    delta = torch.stack([eraser.erase(x) - x for eraser in erasers])
    delta[:, :start] = 0
    return delta


def neutral_kl(
    model: Model, texts: Sequence[str], hookpoint: str, erasers: Sequence[Eraser]
) -> Tensor:
    """KL(clean‖edited) of each eraser on each text, at every token but the first, [erasers, texts];
    the mean over the text's tokens, in nats."""
    columns = []
    for text in texts:
        ids = model.tokenize([text])[0][0]
        clean = run_clean(model, ids, model.site(hookpoint), every=True)
        delta = changes(clean, erasers, 1).to(clean.x.dtype)
        edited = clean.resume(delta, every=True)
        kl = metrics.kl(clean.logits[edited.start :].unsqueeze(0), edited.logits)
        columns.append(kl.double().sum(1).cpu() / (clean.length - 1))
    return torch.stack(columns, dim=1)


def _notes(
    fitted: Sequence[Prompts], tested: Sequence[Prompts], texts: Sequence[str]
) -> tuple[str, ...]:
    return (
        f"Fitted on {len(fitted[0].ids)} prompts of {len(set(fitted[0].names))} names a family, "
        f"tested on {len(tested[0].ids)} of {len(set(tested[0].names))} other names; 3 + 3 shots, "
        "edited at the question's name and after it. The paper tested on the names it fitted on.",
        "The feature is the one, of those active at more than 1% of the fitted tokens, whose "
        "decoder row is nearest to the difference of the genders' means. Projecting its direction "
        "out is the paper's edit; ablating its code changes only tokens where it is active.",
        "LEACE without shrinkage, which few names and one template make easy to overfit: it sees "
        "only these tokens, and its whitening has to carry over to all others in the neutral text.",
        f"Neutral text: {len(texts)} passages that the dictionaries were not trained on.",
    )
