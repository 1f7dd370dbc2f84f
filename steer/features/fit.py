"""Dictionaries against a model: where one belongs, and that it fits there."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from dictionaries import catalogue
from dictionaries.dictionary import Dictionary
from steer.errors import DictionaryError, InterventionError
from steer.lm.hookpoints import Site

if TYPE_CHECKING:
    from steer.model import Model


def read_dictionary(name: str) -> Dictionary:
    """A dictionary of the catalogue or a folder; read again only if its files change."""
    return _read(name, _stamp(name))


def site_of(model: Model, dictionary: Dictionary) -> str:
    """The hookpoint that a dictionary reads; see `Model.site_of`."""
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


def width_of(model: Model, site: Site) -> int:
    """d of a site."""
    module = model.module.get_submodule(site.path)
    if site.hookpoint.kind not in ("attn_z", "mlp_hidden"):
        return model.module.config.get_text_config().hidden_size
    transposed = type(module).__name__ == "Conv1D"
    return module.weight.shape[0] if transposed else module.weight.shape[1]


def refuse_later(later: object, what: str) -> None:
    """Raise `InterventionError` for a dictionary, or a plan, that has `later` sites to write."""
    if later:
        raise InterventionError(
            f"{what} of an edit that writes one site, and a feature of a cross-layer transcoder "
            "writes every block from its own on; generate, logit_effect and evaluations "
            "take it"
        )


def _fitting(model: Model, name: str, does: str, hookpoint: str, wanted: int) -> Site:
    site = model.site(hookpoint)
    width = width_of(model, site)
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
    found = catalogue.find(name)
    folder, start = (found, "") if found.is_dir() else (found.parent, found.name)
    files = (path for path in folder.iterdir() if path.name.startswith(start))
    return max((path.stat().st_mtime_ns for path in files), default=0)
