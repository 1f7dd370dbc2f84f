"""Figures of baselines of the same recipe on a dictionary's card, beside its own.

    python -m apps.training.beside smollm2-135m/resid_post.20 --frozen decoder \\
        --samples 400000 --tokens 409600 --seed 1

What `steer train RECIPE --frozen PART` trained with the same options is measured where it lies (and
trained where it does not), on the held-out tokens of its harvest, and written into `card.json` as
`baselines`; of each training there is one row.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from apps.training.baselines import Baseline, harvest_for
from apps.training.kept import kept_activations
from apps.training.recipe import Recipe, load_recipe
from apps.training.train import round_weights, run_training
from dictionaries import catalogue
from dictionaries.errors import TrainingError
from dictionaries.files.whole import write_whole
from dictionaries.measures.quality import quality
from steer.progress import Progress

SHOWN = ("heldout_tokens", "explained_variance", "l0", "dead_share", "shrinkage", "train_tokens")
"""As cards call them."""
_ONE_TRAINING = ("frozen", "samples", "seed", "train_tokens")


def beside(
    name: str | Path,
    recipe: Recipe,
    baseline: Baseline,
    work: Path | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Write the baseline's figures into the card of a dictionary by name or folder; the card.

    Raises `TrainingError` where the recipe does not train the dictionary's site, and what training
    and `catalogue.read_card` raise.
    """
    card = catalogue.read_card(name)
    site = card["hookpoint"]
    if site not in recipe.sites:
        raise TrainingError(f"recipe {recipe.name} trains {', '.join(recipe.sites)}, not {site}")
    row = figures(recipe, site, baseline, work, progress or (lambda what, done, total: None))
    others = [
        there
        for there in card.get("baselines", [])
        if any(there[cell] != row[cell] for cell in _ONE_TRAINING)
    ]
    rows = sorted([*others, row], key=lambda there: [str(there[cell]) for cell in _ONE_TRAINING])
    told = {**card, "baselines": rows}
    path = catalogue.find(name) / catalogue.CARD
    write_whole(path, json.dumps(told, indent=1, ensure_ascii=False) + "\n")
    return told


def figures(
    recipe: Recipe, site: str, baseline: Baseline, work: Path | None, progress: Progress
) -> dict[str, Any]:
    """What was trained, and how well it reconstructs held-out tokens."""
    frozen = baseline.of(recipe)
    work, store = harvest_for(recipe, baseline, work, progress)
    place = work / site / baseline.called(recipe, site)
    dictionary = run_training(frozen, site, store, place, progress=progress)
    corpus = kept_activations(frozen, site, store)
    measured = quality(round_weights(dictionary), corpus.heldout)
    config = frozen.train[site]
    return {
        "frozen": baseline.frozen,
        "samples": config.samples,
        "seed": config.seed,
        "heldout_tokens": measured.tokens,
        **{cell: getattr(measured, cell) for cell in SHOWN[1:-1]},
        "train_tokens": len(corpus.train),
    }


def main(
    name: str,
    frozen: Annotated[list[str], typer.Option(help="decoder, …, or nothing; repeat it.")],
    recipe: str = "smollm2-135m",
    samples: int | None = None,
    tokens: int | None = None,
    seed: int | None = None,
    work: Path | None = None,
) -> None:
    """Measure baselines that were trained with these options, and write them into NAME's card."""
    for part in frozen:
        card = beside(name, load_recipe(recipe), Baseline(part, samples, tokens, seed), work)
        print(json.dumps(card["baselines"], indent=1))


if __name__ == "__main__":
    typer.run(main)
