"""Whether a dictionary was loaded right: its figures on real tokens, and of other readings of it.

A table of conventions can be wrong and everything still runs, so nothing is trusted here but the
activations: a convention that is right reconstructs them, with few features.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dictionaries import catalogue, releases
from dictionaries.dictionary import Dictionary
from steer.errors import DictionaryError
from steer.features.contexts import contexts
from steer.features.fit import site_of
from steer.features.norm_gain import after_gain
from steer.lm.fingerprint import is_of
from steer.lm.language_model import LanguageModel
from steer.quality.conventions import figures
from steer.quality.cost import cost
from steer.quality.docstrings import docstrings
from steer.quality.result import Check
from steer.quality.tried import POOR, Subject, best_of, sparse_enough


def check(
    model: LanguageModel, dictionary: Dictionary | str | Path, texts: Sequence[str] | None = None
) -> Check:
    """Measure a dictionary on a few thousand tokens, and try other readings of its file.

    texts: what to read; Python's own docstrings if None.

    A block of a cross-layer transcoder is checked where it reads, together with all blocks before
    it; its conventions of site and text show best in block 0, which writes its site alone.
    Raises `DictionaryError` if it is plainly of another model: another width or fingerprint.
    """
    if not isinstance(dictionary, Dictionary):
        dictionary = catalogue.load(dictionary)
    dictionary = after_gain(model, dictionary)
    source, out = refuse_other_model(model, dictionary)
    ids = contexts(model, docstrings() if texts is None else texts)
    subject = Subject.of(model, dictionary, source, out)
    published = _published(dictionary)
    most = sparse_enough(dictionary, published)
    here = subject.here(ids)
    tried = {reading.name: figures(reading) for reading in subject.near(ids, here)}
    if tried[best_of(tried, most)].fvu > POOR:
        tried |= {
            reading.name: figures(reading)
            for reading in subject.far(ids)
            if reading.name not in tried
        }
    return Check(
        dictionary=dictionary.name or "unnamed",
        model=model.name,
        dtype=model.precision,
        hookpoint=source,
        tokens=here.tokens,
        delta_ce=cost(subject, ids, here).delta,
        published=published,
        readings=tried,
        best=best_of(tried, most),
        d=dictionary.config.d_in,
    )


def refuse_other_model(model: LanguageModel, dictionary: Dictionary) -> tuple[str, str]:
    """The hookpoints that it reads and writes. Raises `DictionaryError` for another model's."""
    trained_on = (dictionary.card or {}).get("fingerprint")
    if trained_on and trained_on != model.fingerprint and not is_of(model.module, trained_on):
        raise DictionaryError(
            f"{dictionary.name} was trained on a model with fingerprint {trained_on}, and "
            f"{model.name} has {model.fingerprint}: load the model that it was trained on"
        )
    source = site_of(model, dictionary)
    config = dictionary.config
    out = str(model.site(config.hookpoint_out or source).hookpoint)
    width = model.width(model.site(out))
    if (config.d_out or config.d_in) != width:
        raise DictionaryError(
            f"{dictionary.name or 'the dictionary'} writes a site of width "
            f"{config.d_out or config.d_in}, and {out} of {model.name} has width {width}: it "
            "belongs to another model or site"
        )
    return source, out


def _published(dictionary: Dictionary) -> dict[str, float]:
    """l0, fvu and delta_ce, from the card or else from the catalogue of releases or the file.

    A file states its L0 by that name, or as k.
    """
    card = dictionary.card or {}
    stated: dict[str, float] = {
        name: card[name] for name in ("l0", "fvu", "delta_ce") if name in card
    }
    in_file = dict(dictionary.config.metadata).get("l0", getattr(dictionary, "k", None))
    by_file = {"l0": float(in_file)} if isinstance(in_file, int | float) else {}
    return stated or releases.figures(dictionary.name) or by_file


__all__ = ["Check", "check", "refuse_other_model"]
