"""The same site trained again and again: dictionaries that differ in their seed alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from apps.training.contexts import build_contexts
from apps.training.recipe import Recipe
from apps.training.train import run_harvest, run_training
from dictionaries.dictionary import Dictionary
from dictionaries.errors import TrainingError
from dictionaries.training.activations import ActivationStore, Contexts
from steer.disk.cache import cache_folder
from steer.loading import load
from steer.progress import Progress

SHORT_BATCH, SHORT_RATE = 1024, 1e-3


def reduced(recipe: Recipe, samples: int) -> Recipe:
    """The recipe with fewer samples for each dictionary, in smaller and larger steps.

    A short training gets further with more steps than with good estimates of each.
    """
    train = {
        site: replace(
            config,
            samples=samples,
            batch=min(config.batch, SHORT_BATCH),
            learning_rate=max(config.learning_rate, SHORT_RATE),
        )
        for site, config in recipe.train.items()
    }
    return replace(recipe, train=train)


def harvest_some(recipe: Recipe, tokens: int, work: Path, progress: Progress) -> ActivationStore:
    """Activations of the recipe's first `tokens` tokens.

    Its contexts are shuffled, so they are a fair part of all its corpora.
    Raises `TrainingError` for a folder with a harvest of another number of tokens.
    """
    path = work / "contexts.safetensors"
    if path.exists():
        _check_same(Contexts.load(path), recipe, tokens, work)
    else:
        work.mkdir(parents=True, exist_ok=True)
        tokenizer = load(recipe.model, dtype=recipe.harvest_dtype).tokenizer
        _first(build_contexts(recipe, tokenizer, cache_folder(), progress), tokens).save(path)
    return run_harvest(recipe, work, progress)


def train_seed(
    recipe: Recipe, site: str, seed: int, store: ActivationStore, work: Path, progress: Progress
) -> Dictionary:
    """The site's dictionary of one seed, which is of its initialisation and order of samples.

    What is there already is read, and a checkpoint is taken up.
    """
    config = replace(recipe.train[site], seed=seed)
    seeded = replace(recipe, train={**recipe.train, site: config})
    return run_training(seeded, site, store, work / site / f"seed-{seed}", progress=progress)


def _check_same(there: Contexts, recipe: Recipe, tokens: int, work: Path) -> None:
    """A recipe's corpora may end before `tokens`, but not before its own number."""
    held, wanted = there.tokens.numel(), _contexts_of(there, tokens) * there.tokens.shape[1]
    if held > wanted or (held < wanted and tokens < recipe.tokens):
        raise TrainingError(
            f"{work} holds a harvest of {held:,} tokens, and {tokens:,} were asked for: give "
            f"--tokens {held}, or another --work"
        )


def _contexts_of(contexts: Contexts, tokens: int) -> int:
    return tokens // contexts.tokens.shape[1]


def _first(contexts: Contexts, tokens: int) -> Contexts:
    count = _contexts_of(contexts, tokens)
    return Contexts(
        tokens=contexts.tokens[:count],
        source=contexts.source[:count],
        heldout=contexts.heldout[:count],
        sources=contexts.sources,
    )
