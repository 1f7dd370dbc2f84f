"""Dictionaries against a model: loaded by name, where one belongs, and that it fits there."""

from __future__ import annotations

import warnings
from functools import lru_cache

from dictionaries import catalogue
from dictionaries.dictionary import Dictionary
from steer.errors import DictionaryError, InterventionError
from steer.features.norm_gain import after_gain
from steer.lm.anatomy import Site
from steer.lm.fingerprint import is_of
from steer.lm.language_model import LanguageModel


def read_dictionary(name: str) -> Dictionary:
    """A dictionary of the catalogue or a folder; read again only if its files change."""
    return _read(name, _stamp(name))


def load_dictionary(model: LanguageModel, name: str) -> Dictionary:
    """A dictionary by catalogue name or folder, checked against this model.

    Raises `DictionaryError` for an unknown name (with near ones) or one that does not fit;
    warns if its card names another model.
    """
    dictionary = after_gain(model, read_dictionary(name))
    site_of(model, dictionary)
    trained_on = (dictionary.card or {}).get("fingerprint")
    if trained_on and trained_on != model.fingerprint and not is_of(model.module, trained_on):
        warnings.warn(
            f"{name} was trained on a model with fingerprint {trained_on} and "
            f"{model.name} has {model.fingerprint}: its features may mean nothing here",
            stacklevel=3,
        )
    return dictionary


def check_dictionary(dictionary: object) -> None:
    """Raise `DictionaryError` for what is no dictionary, such as the name of one."""
    if not isinstance(dictionary, Dictionary):
        raise DictionaryError(
            f"{dictionary!r} is no dictionary: give what Model.dictionary gives for its name"
        )


def site_of(model: LanguageModel, dictionary: Dictionary) -> str:
    """The hookpoint that a dictionary reads, checked to exist and to have its width.

    Raises `DictionaryError` if the dictionary does not say where it belongs (a transcoder: also
    where it writes) or has another width.
    """
    check_dictionary(dictionary)
    name, hookpoint = dictionary.name or "the dictionary", dictionary.config.hookpoint
    if hookpoint is None:
        raise DictionaryError(
            f"{name} does not say which site it reads; set config.hookpoint, such as resid_post.20"
        )
    read = _fitting(model, name, "reads", hookpoint, dictionary.config.d_in)
    if dictionary.is_transcoder:
        out, d_out = dictionary.config.hookpoint_out, dictionary.config.d_out
        if out is None or d_out is None:
            raise DictionaryError(
                f"{name} is a transcoder that does not say which site it writes; set "
                "config.hookpoint_out, such as mlp_out.20"
            )
        written = _fitting(model, name, "writes", out, d_out)
        if written.hookpoint.order < read.hookpoint.order:
            raise DictionaryError(
                f"{name} reads {read.hookpoint} and writes {written.hookpoint}, which comes before "
                "it in the forward pass"
            )
        for later in () if dictionary.later is None else dictionary.later.hookpoints:
            _fitting(model, name, "writes", later, d_out)
    return str(read.hookpoint)


def refuse_later(later: object, what: str) -> None:
    """Raise `InterventionError` for a dictionary, or a plan, that has `later` sites to write."""
    if later:
        raise InterventionError(
            f"{what} of an edit that writes one site, and a feature of a cross-layer transcoder "
            "writes every block from its own on; generate, logit_effect and evaluations "
            "take it"
        )


def _fitting(model: LanguageModel, name: str, does: str, hookpoint: str, wanted: int) -> Site:
    site = model.site(hookpoint)
    width = model.width(site)
    if wanted != width:
        raise DictionaryError(
            f"{name} {does} a site of width {wanted}, and {site.hookpoint} of {model.name} has "
            f"width {width}: it belongs to another model"
        )
    return site


@lru_cache(maxsize=8)
def _read(name: str, stamp: int) -> Dictionary:
    """Read once while its files stay as they are: an app asks for it at every click."""
    return catalogue.load(name)


def _stamp(name: str) -> int:
    """Of what lies in its folder, or beside its one file under a name that begins so."""
    place = catalogue.find(name)
    folder, start = (place, "") if place.is_dir() else (place.parent, place.name)
    files = (path for path in folder.iterdir() if path.name.startswith(start))
    return max((path.stat().st_mtime_ns for path in files), default=0)
