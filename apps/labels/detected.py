"""Labels for all features of a dictionary, from the detectors: no judge, each with its figures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from apps.labels.fields import MEANINGS, Sense, by_meaning, read_senses
from apps.training.recipe import Recipe
from apps.training.train import prepare
from dictionaries.beside.labels import Label, Labels
from dictionaries.dictionary import Dictionary
from dictionaries.training.activations import ActivationStore, Contexts, keep_mask
from steer.disk.cache import cache_folder
from steer.errors import DictionaryError
from steer.interpretation.activity import find_activity
from steer.interpretation.detectors import Detector, detect
from steer.interpretation.views import VIEWS, groupings
from steer.jobs.harvest import harvest
from steer.progress import Progress

SOURCE = "steer"
"""Of these labels: rules that detectors found."""
_EXAMPLE = 3, 1
"""Tokens shown before and after an example's strongest one."""


@dataclass(frozen=True, eq=False)
class Reading:
    """Contexts that detectors are chosen and judged on; n contexts.

    tokens, keep [n, length]; activations [n, length, d]; heldout [n]: contexts that judge.
    """

    tokens: Tensor
    activations: Tensor
    keep: Tensor
    heldout: Tensor


def read(store: ActivationStore, site: str, keep: Tensor, *, fit: int, heldout: int) -> Reading:
    """The store's first `fit` training contexts and first `heldout` held-out ones."""
    contexts = store.contexts
    rows = _rows(contexts, fit, heldout)
    return Reading(
        tokens=contexts.tokens[rows],
        activations=store.mapped(site)[rows],
        keep=keep[rows],
        heldout=contexts.heldout[rows],
    )


def _rows(contexts: Contexts, fit: int, heldout: int) -> Tensor:
    chosen = (~contexts.heldout).nonzero().flatten()[:fit]
    judges = contexts.heldout.nonzero().flatten()[:heldout]
    return torch.cat([chosen, judges]).sort().values


def token_texts(tokenizer: Any, size: int) -> list[str]:
    """The text of every token id."""
    return tokenizer.batch_decode([[i] for i in range(size)])


def detectors(
    dictionary: Dictionary,
    reading: Reading,
    texts: list[str],
    senses: Mapping[str, Sense],
    threshold: Tensor | None = None,
    progress: Progress | None = None,
) -> list[Detector]:
    """The best detector of each feature that is active both where one is chosen and judged.

    senses: what words mean, for rules of that (`apps.labels.fields`).
    """
    report = progress or (lambda what, done, total: None)
    activity = find_activity(
        dictionary,
        reading.activations,
        reading.keep,
        reading.heldout,
        threshold=threshold,
        progress=lambda done, total: report("encoding", done, total),
    )
    return detect(
        activity,
        reading.tokens,
        {**groupings(texts), **by_meaning(texts, senses)},
        (*VIEWS, *MEANINGS),
        progress=lambda done, total: report("detecting", done, total),
    )


def read_recipe(
    dictionary: Dictionary,
    recipe: Recipe,
    *,
    work: Path | None,
    fit: int,
    heldout: int,
    progress: Progress,
) -> tuple[Reading, Any]:
    """Contexts of the recipe's corpus at the dictionary's site, and the tokenizer.

    Only these contexts are harvested, and kept in `work`.
    Raises `DictionaryError` if the recipe does not harvest the dictionary's site.
    """
    site = str(dictionary.config.hookpoint)
    if site not in recipe.sites:
        raise DictionaryError(
            f"recipe {recipe.name} harvests {', '.join(recipe.sites)}, not {site}; give another"
        )
    work = work or cache_folder() / "training" / recipe.name
    model, contexts = prepare(recipe, work, progress)
    store = ActivationStore(work / f"labels-{site}-{fit}-{heldout}", {site: dictionary.config.d_in})
    harvest(model, contexts.only(_rows(contexts, fit, heldout)), store, progress=progress)
    activations = store.mapped(site)
    norms = torch.cat([part.float().norm(dim=-1) for part in activations.split(64)])
    keep, _ = keep_mask(norms, recipe.outlier_medians)
    return read(store, site, keep, fit=fit, heldout=heldout), model.tokenizer


def make_labels(
    dictionary: Dictionary,
    recipe: Recipe,
    *,
    work: Path | None = None,
    fit: int = 800,
    heldout: int = 400,
    progress: Progress | None = None,
) -> Labels:
    """A label per feature, from the recipe's corpus; `fit` and `heldout` are contexts.

    Features that are silent on either part get no label. See `read_recipe` for what is raised.
    """
    report = progress or (lambda what, done, total: None)
    reading, tokenizer = read_recipe(
        dictionary, recipe, work=work, fit=fit, heldout=heldout, progress=report
    )
    texts = token_texts(tokenizer, len(tokenizer))
    rules = detectors(dictionary, reading, texts, read_senses(), progress=report)
    return Labels(_label(dictionary, rule, texts) for rule in rules)


def _label(dictionary: Dictionary, found: Detector, texts: list[str]) -> Label:
    return Label(
        feature=found.feature,
        text=found.text,
        source=SOURCE,
        precision=round(found.precision, 2),
        recall=round(found.recall, 2),
        f1=round(found.f1, 3),
        example=_example(dictionary, found.feature, texts),
    )


def _example(dictionary: Dictionary, feature: int, texts: list[str]) -> str | None:
    """The strongest context that may be shown, with its strongest token in «»."""
    statistics = dictionary.statistics
    if statistics is None or statistics.maximum[feature] <= 0:
        return None
    ids, strength = statistics.contexts[feature, 0], statistics.context_activations[feature, 0]
    if not strength.max() > 0:
        return None
    peak = int(strength.argmax())
    before, after = _EXAMPLE
    shown = range(max(0, peak - before), min(len(ids), peak + after + 1))
    pieces = [f"«{texts[ids[i]]}»" if i == peak else texts[ids[i]] for i in shown if ids[i] >= 0]
    return " ".join("".join(pieces).split()) or None
