"""The activations that trainers are compared on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from apps.studies.trainers.bench import Activations
from apps.studies.trainers.size import Size
from apps.training.kept import kept_activations
from apps.training.recipe import Recipe, load_recipe
from apps.training.train import run_harvest
from dictionaries.errors import TrainingError
from dictionaries.training.activations import ActivationStore
from steer.disk.cache import cache_folder
from steer.jobs.harvest import check_whole
from steer.progress import Progress

SITE, D = "resid_post.20", 576
HELDOUT = 4_096


def harvested(
    size: Size,
    folder: Path | None = None,
    progress: Progress | None = None,
    *,
    site: str = SITE,
    heldout: int = HELDOUT,
) -> Activations:
    """Of a site of the default model on the corpora of its recipe; heldout: at most as many.

    folder: where `steer train --harvest-only` left them, `activations` in its `--work`; by default
    as many as are needed are harvested, and kept. Raises `TrainingError` if none are there.
    """
    recipe = _recipe(size, site)
    if folder is None:
        work = cache_folder() / "training" / f"{recipe.name}-{recipe.tokens}"
        store = run_harvest(recipe, work, progress or (lambda what, done, total: None))
    else:
        if not (folder / f"{site}.bf16").is_file():
            raise TrainingError(
                f"{folder} holds no activations of {site}: give the folder `activations` that "
                "`steer train smollm2-135m --harvest-only --work FOLDER` makes in FOLDER"
            )
        check_whole(folder)
        store = ActivationStore(folder, {site: D})
    corpus = kept_activations(recipe, site, store)
    of = f"smollm2-135m/{site}, {len(corpus.train)} activations"
    return Activations.scaled(corpus.train[: size.samples], corpus.heldout[:heldout], of)


def _recipe(size: Size, site: str) -> Recipe:
    """That of the shipped dictionaries, for one site and few tokens."""
    shipped = load_recipe("smollm2-135m")
    if site not in shipped.train:
        raise TrainingError(f"no site {site}; the recipe has {', '.join(shipped.sites)}")
    name = "bench-training" if site == SITE else f"bench-training-{site}"
    tokens = round(size.samples * 1.25) + 20 * HELDOUT
    train = {site: shipped.train[site]}
    return replace(shipped, name=name, sites=(site,), tokens=tokens, train=train)
