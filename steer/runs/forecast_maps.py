"""Where a dictionary's forecast map is: beside it, or fitted before and kept in the cache."""

from __future__ import annotations

from pathlib import Path

from dictionaries.beside.forecast import ForecastMap
from dictionaries.dictionary import Dictionary
from steer.disk.cache import cache_folder
from steer.lm.language_model import LanguageModel
from steer.splice.plan import SitePlan


def map_of(
    model: LanguageModel, plan: SitePlan, dictionary: Dictionary | None
) -> ForecastMap | None:
    """Of the site that a plan writes, if there is one of this very model.

    None for plans whose effect is not a sum of fixed rows at one site.
    """
    if plan.later or plan.subspaces or plan.error != "keep":
        return None
    if dictionary is not None and dictionary.config.normalisation != "none":
        return None
    places = [kept_at(model, str(plan.out.hookpoint))]
    if dictionary is not None and dictionary.place is not None and not dictionary.is_transcoder:
        places.insert(0, dictionary.place)
    for place in places:
        known = ForecastMap.load(place)
        if known is not None and known.fingerprint == model.fingerprint:
            return known
    return None


def kept_at(model: LanguageModel, hookpoint: str) -> Path:
    """The folder of the cache for maps of a model's site."""
    return cache_folder() / "forecasts" / model.fingerprint / hookpoint
