"""A training recipe: one small TOML file that says everything that goes into a dictionary."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field, fields
from importlib import resources
from pathlib import Path
from typing import Any

from apps.corpora.source import CorpusError
from apps.corpora.sources import check_corpus
from dictionaries.errors import TrainingError
from dictionaries.files.keys import refuse_unknown
from dictionaries.training.fast_dtype import fast_dtype
from dictionaries.training.train import TrainConfig


@dataclass(frozen=True)
class Recipe:
    """What to train and on what.

    name: dictionaries are named `name/site`.
    model: what `steer.load` takes.
    sites: hookpoints, harvested in one pass.
    corpora: a corpus's name, or the path of a text file or folder of .txt files -> its share of the
        tokens.
    tokens: tokens to harvest, held-out ones included.
    heldout_share: share of documents kept for the card's figures.
    context: tokens per context.
    harvest_dtype: model dtype while harvesting.
    evaluation_dtype: model dtype while measuring cross entropy. Both are by default what is
        fast on this machine, and the card says which that was.
    evaluation_tokens: held-out tokens on which cross entropy is measured.
    outlier_medians: positions with a norm above this many medians are left out.
    train: settings of the trainer; a table per site may override them.
    """

    name: str
    model: str
    sites: tuple[str, ...]
    corpora: dict[str, float]
    tokens: int
    train: dict[str, TrainConfig]
    heldout_share: float = 0.05
    context: int = 256
    seed: int = 0
    harvest_dtype: str = field(default_factory=fast_dtype)
    evaluation_dtype: str = field(default_factory=fast_dtype)
    evaluation_tokens: int = 100_000
    outlier_medians: float = 4.0

    def __post_init__(self) -> None:
        if abs(sum(self.corpora.values()) - 1) > 1e-6:
            raise TrainingError(f"corpora's shares add to {sum(self.corpora.values())}, not 1")


def load_recipe(name: str) -> Recipe:
    """A recipe by path, or by the name of one in `apps/training/recipes`.

    Raises `TrainingError` for a missing or damaged file, unknown keys or missing ones.
    """
    shipped = resources.files("apps.training") / "recipes"
    path = Path(name)
    if not path.is_file():
        path = Path(str(shipped / f"{name}.toml"))
    if not path.is_file():
        known = sorted(entry.name.removesuffix(".toml") for entry in shipped.iterdir())
        raise TrainingError(f"no recipe {name!r}: give a path, or one of {', '.join(known)}")
    try:
        return _build(tomllib.loads(path.read_text(encoding="utf-8")), path)
    except TrainingError:
        raise
    except (ValueError, TypeError, AttributeError) as error:  # no TOML, or values of other types
        raise TrainingError(f"{path}: {error}") from error


def _check_corpus(name: str, path: Path) -> None:
    try:
        check_corpus(name)
    except CorpusError as error:
        raise TrainingError(f"{path}: {error}") from error


def _build(table: dict[str, Any], path: Path) -> Recipe:
    common = table.pop("train", {})
    overrides = {key: common.pop(key) for key in list(common) if isinstance(common[key], dict)}
    if not isinstance(table.get("sites"), list):
        raise TrainingError(f'{path}: sites must be a list such as ["resid_post.20"]')
    sites = tuple(table["sites"])
    refuse_unknown(table, {f.name for f in fields(Recipe)}, str(path), TrainingError)
    refuse_unknown(overrides, set(sites), str(path), TrainingError)
    for corpus in table.get("corpora", {}):
        _check_corpus(corpus, path)
    allowed = {f.name for f in fields(TrainConfig)}
    train = {}
    for site in sites:
        settings = common | overrides.get(site, {})
        refuse_unknown(settings, allowed, str(path), TrainingError)
        train[site] = TrainConfig(**settings)
    return Recipe(**{**table, "sites": sites, "train": train})
