"""Where a dictionary's forecast map is: beside it, or fitted before and kept in the cache."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from dictionaries.beside.behaviours import BehaviourMap
from dictionaries.beside.forecast import ForecastMap
from dictionaries.dictionary import Dictionary
from steer.disk.cache import cache_folder
from steer.lm.language_model import LanguageModel
from steer.splice.plan import SitePlan

Kind = TypeVar("Kind", ForecastMap, BehaviourMap)


@dataclass(frozen=True)
class Maps:
    """Of the site that a plan writes; each None if there is none of this very model."""

    tokens: ForecastMap | None = None
    behaviours: BehaviourMap | None = None


def maps_of(model: LanguageModel, plan: SitePlan, dictionary: Dictionary | None) -> Maps:
    """None for plans whose effect is not a sum of fixed rows at one site."""
    if plan.later or plan.subspaces or plan.error != "keep":
        return Maps()
    if dictionary is not None and dictionary.config.normalisation != "none":
        return Maps()
    places = [kept_at(model, str(plan.out.hookpoint))]
    if dictionary is not None and dictionary.place is not None and not dictionary.is_transcoder:
        places.insert(0, dictionary.place)
    return Maps(
        next(_of(model, map(ForecastMap.load, places)), None),
        next(_of(model, map(BehaviourMap.load, places)), None),
    )


def _of(model: LanguageModel, loaded: Iterable[Kind | None]) -> Iterator[Kind]:
    return (
        fitted
        for fitted in loaded
        if fitted is not None and fitted.fingerprint == model.fingerprint
    )


def kept_at(model: LanguageModel, hookpoint: str) -> Path:
    """The folder of the cache for maps of a model's site."""
    return cache_folder() / "forecasts" / model.fingerprint / hookpoint
