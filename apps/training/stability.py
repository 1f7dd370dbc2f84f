"""How surely features come back with another seed, and how well that is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from apps.training.recipe import Recipe
from apps.training.seeds import harvest_some, reduced, train_seed
from dictionaries import catalogue
from dictionaries.beside.stability import FILE, RETURNS
from dictionaries.dictionary import Dictionary
from dictionaries.errors import TrainingError
from dictionaries.extras import need
from dictionaries.files.place import beside, writable_folder
from dictionaries.measures.stability import chances, cosines, stability
from dictionaries.training.config import TrainConfig
from steer.progress import Progress

LEAST = 4
"""Dictionaries that differ in their seed alone: three to learn from, and one to ask about."""
BINS = 10
DENSITY = (0.5, 0.9, 0.99)


@dataclass(frozen=True)
class Foretold:
    """Which features of the first dictionaries the last one has, said from the first ones alone.

    The one that is asked about is among them where it was trained as the seeds were.

    auroc: of the chance, None if all or none returned; share: of features that returned.
    calibration: mean |chance − share that returned| over ten bins of equal size.
    """

    auroc: float | None
    calibration: float
    share: float
    features: int


@dataclass(frozen=True)
class StabilityReport:
    """What came of training a site again.

    returning: share of features with a chance of one half or more; cosine: of the nearest row;
    share: of a row in the span of the four nearest rows of a seed, mean.
    too_short: whether the seeds saw fewer samples than the dictionary: all is then too low.
    histogram: shares of features by the mean cosine of their nearest rows, in tenths.
    by_density: mean chance of the rarest half of the features, of those up to the most frequent
        tenth, up to the most frequent hundredth, and of these; empty where nobody counted.
    """

    dictionary: str
    seeds: int
    samples: int
    returning: float
    cosine: float
    share: float
    histogram: tuple[float, ...]
    by_density: tuple[float, ...]
    foretold: Foretold
    too_short: bool
    written: str

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def run_stability(
    recipe: Recipe,
    site: str,
    *,
    seeds: Sequence[int],
    samples: int | None,
    tokens: int,
    work: Path,
    dictionary: Dictionary | None,
    out: Path,
    progress: Progress,
) -> StabilityReport:
    """Train the seeds (what is there is read), compare, and write what is known of each feature.

    samples: for each; as many as the recipe says if None, and fewer say little (README).
    dictionary: whose features are asked about; that of the first seed if None. Where it is of the
        same training with another seed, it counts as one of them.
    Raises `TrainingError` for too few seeds, one that is the dictionary's own, or a site that the
    recipe does not have.
    """
    if site not in recipe.sites:
        raise TrainingError(f"the recipe has no site {site}; it has {', '.join(recipe.sites)}")
    fewer = recipe if samples is None else reduced(recipe, samples)
    config = fewer.train[site]
    own = _own_seed(dictionary, config)
    if own in seeds:
        raise TrainingError(f"seed {own} is that of the dictionary itself: leave it out")
    if len(seeds) + (own is not None) < LEAST:
        raise TrainingError(f"{len(seeds)} seeds are too few to say what one more has: {LEAST}")
    writable_folder(out)
    store = harvest_some(fewer, tokens, work, progress)
    trained = [train_seed(fewer, site, seed, store, work, progress).W_dec for seed in seeds]
    return report(dictionary, trained, config, out)


def other_seeds(recipe: Recipe, site: str, dictionary: Dictionary | None, count: int) -> list[int]:
    """The first `count` seeds from 1 on that are not the dictionary's own."""
    config = recipe.train.get(site)
    own = None if config is None else _own_seed(dictionary, config)
    return [seed for seed in range(1, count + 2) if seed != own][:count]


def _own_seed(dictionary: Dictionary | None, config: TrainConfig) -> int | None:
    """The seed of a dictionary that was trained by this config but for that; else None."""
    if dictionary is None or dictionary.card is None:
        return None
    told = dictionary.card.get("train")
    if not isinstance(told, dict) or not isinstance(told.get("seed"), int):
        return None
    alike = {**config.to_dict(), "seed": 0, "candidates_dtype": ""}
    return told["seed"] if {**told, "seed": 0, "candidates_dtype": ""} == alike else None


def report(
    dictionary: Dictionary | None, trained: Sequence[Tensor], config: TrainConfig, out: Path
) -> StabilityReport:
    """From the decoder rows of each seed, all trained by the config."""
    rows, others = (trained[0], trained[1:]) if dictionary is None else (dictionary.W_dec, trained)
    alike = dictionary is None or _own_seed(dictionary, config) is not None
    samples = config.samples
    card = {} if dictionary is None or dictionary.card is None else dictionary.card
    measured = stability(rows, others, samples, card.get("samples_seen"))
    measured.save(out)
    tenths = (measured.cosine * 10).long().clamp(0, 9)
    counts = torch.bincount(tenths, minlength=10) / len(tenths)
    return StabilityReport(
        dictionary="seed 1" if dictionary is None else dictionary.name,
        seeds=len(others),
        samples=samples,
        returning=(measured.chance >= 0.5).float().mean().item(),
        cosine=measured.cosine.mean().item(),
        share=measured.share.mean().item(),
        histogram=tuple(counts.tolist()),
        by_density=_by_density(dictionary, measured.chance),
        foretold=foretell([rows, *others] if alike else others),
        too_short=measured.samples < (measured.own_samples or 0),
        written=str(beside(out, FILE)),
    )


def _by_density(dictionary: Dictionary | None, chance: Tensor) -> tuple[float, ...]:
    """The mean chance between the `DENSITY` quantiles of how often features are active."""
    if dictionary is None or dictionary.statistics is None:
        return ()
    rarest_first = chance[torch.as_tensor(dictionary.statistics.density).argsort()]
    cuts = [round(share * len(chance)) for share in (0.0, *DENSITY, 1.0)]
    return tuple(rarest_first[a:b].mean().item() for a, b in pairwise(cuts))


def foretell(trained: Sequence[Tensor]) -> Foretold:
    """From the decoder rows of all but the last, which of their features the last has.

    It is learned from the first ones alone: which features of each another of them has, from the
    rest.
    """
    need("sklearn")
    from sklearn.metrics import roc_auc_score

    first, last = list(trained[:-1]), trained[-1]
    seen, returned, asked, truth = [], [], [], []
    for number, rows in enumerate(first):
        rest = cosines(rows, [own for other, own in enumerate(first) if other != number])
        for held in range(rest.shape[1]):
            left = [column for column in range(rest.shape[1]) if column != held]
            seen.append(rest[:, left])
            returned.append(rest[:, held] >= RETURNS)
        asked.append(rest)
        truth.append(cosines(rows, [last])[:, 0] >= RETURNS)
    likely = chances(torch.cat(seen), torch.cat(returned), torch.cat(asked))
    came = torch.cat(truth)
    told = bool(came.any()) and not bool(came.all())
    return Foretold(
        auroc=float(roc_auc_score(came.numpy(), likely.numpy())) if told else None,
        calibration=calibration(likely, came),
        share=came.float().mean().item(),
        features=len(came),
    )


def calibration(likely: Tensor, came: Tensor) -> float:
    """Mean |chance − share that came| over ten bins of equal size."""
    order = likely.argsort()
    gaps = [(likely[part].mean() - came[part].float().mean()).abs() for part in order.chunk(BINS)]
    return torch.stack(gaps).mean().item()


def dictionary_named(name: str | None) -> Dictionary | None:
    """By catalogue name, or None."""
    return None if name is None else catalogue.load(name)
