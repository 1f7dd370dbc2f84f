"""Baselines of a recipe: the same training with a part that stays as it was drawn.

Korznikov et al. 2026: dictionaries with a frozen part match trained ones in published tables. A
baseline has its recipe's corpora, width, sparsity, rate and seed; with fewer samples, the trained
one that it is compared with (`nothing` frozen) has as few.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from apps.training.recipe import Recipe
from apps.training.seeds import harvest_some, reduced
from apps.training.train import check_heldout, finish, run_training
from dictionaries.errors import TrainingError
from dictionaries.training.activations import ActivationStore
from dictionaries.training.config import FROZEN
from steer.disk.cache import cache_folder
from steer.progress import Progress

_CALLED = {
    "nothing": "plain",
    "decoder": "frozen-decoder",
    "soft decoder": "soft-frozen-decoder",
    "encoder": "frozen-encoder",
}
EVALUATED = 10_000
"""Held-out tokens on which cross entropy is measured: a tenth of what a shipped one gets."""


@dataclass(frozen=True)
class Baseline:
    """What is frozen, and how briefly: samples and tokens are the recipe's if None."""

    frozen: str
    samples: int | None = None
    tokens: int | None = None
    seed: int | None = None

    def of(self, recipe: Recipe) -> Recipe:
        """The recipe, named after what is frozen, so that neither is taken for the other.

        Raises `TrainingError` for something that can't be frozen.
        """
        if self.frozen not in FROZEN:
            raise TrainingError(
                f"frozen {self.frozen!r} is unknown; allowed: {', '.join(map(repr, FROZEN))}"
            )
        short = recipe if self.samples is None else reduced(recipe, self.samples)
        train = {
            site: replace(
                config,
                frozen=self.frozen,
                seed=config.seed if self.seed is None else self.seed,
            )
            for site, config in short.train.items()
        }
        return replace(
            short,
            name=f"{recipe.name}-{_CALLED[self.frozen]}",
            train=train,
            evaluation_tokens=min(recipe.evaluation_tokens, EVALUATED),
        )

    def called(self, recipe: Recipe, site: str) -> str:
        """The folder of its training."""
        config = self.of(recipe).train[site]
        return f"{_CALLED[self.frozen]}-{config.samples}-seed-{config.seed}"


def run_baseline(
    recipe: Recipe,
    baseline: Baseline,
    out: Path,
    work: Path | None,
    *,
    sites: list[str] | None = None,
    progress: Progress | None = None,
) -> list[Path]:
    """Train it at each site; the folders with its cards. All baselines share one harvest.

    Raises `TrainingError` for a site that the recipe does not have.
    """
    report = progress or (lambda what, done, total: None)
    frozen = baseline.of(recipe)
    wanted = sites or list(recipe.sites)
    if unknown := set(wanted) - set(recipe.sites):
        raise TrainingError(
            f"the recipe has no site {', '.join(sorted(unknown))}; it has {', '.join(recipe.sites)}"
        )
    work, store = harvest_for(recipe, baseline, work, report)
    folders = []
    for site in wanted:
        folder = out / frozen.name / site
        if not (folder / "card.json").exists():
            place = work / site / baseline.called(recipe, site)
            dictionary = run_training(frozen, site, store, place, progress=report)
            finish(frozen, dictionary, store, place, folder, progress=report)
        folders.append(folder)
    return folders


def harvest_for(
    recipe: Recipe, baseline: Baseline, work: Path | None, progress: Progress
) -> tuple[Path, ActivationStore]:
    """The working folder, and the activations in it that all baselines of as many tokens share.

    Raises `TrainingError` for so few tokens that nothing is held out to judge them on.
    """
    tokens = baseline.tokens or recipe.tokens
    work = work or cache_folder() / "training" / f"{recipe.name}-{tokens}"
    store = harvest_some(baseline.of(recipe), tokens, work, progress)
    check_heldout(store.contexts)
    return work, store
