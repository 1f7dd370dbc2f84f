"""Whether a dictionary was loaded right: its figures on real tokens, and of other readings of it.

A table of conventions can be wrong and everything still runs, so nothing is trusted here but the
activations: a convention that is right reconstructs them, with few features.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from dictionaries import catalogue, releases
from dictionaries.dictionary import Dictionary
from dictionaries.training.activations import keep_mask
from steer.errors import DictionaryError
from steer.features.contexts import BATCH, OUTLIER_MEDIANS, collect, contexts
from steer.features.fit import site_of
from steer.features.norm_gain import after_gain
from steer.lm.fingerprint import is_of
from steer.lm.language_model import LanguageModel
from steer.lm.passes import plain
from steer.maths import metrics
from steer.quality.conventions import (
    AS_LOADED,
    Figures,
    Reading,
    Sample,
    figures,
    readings,
    reconstruction,
)
from steer.quality.docstrings import docstrings
from steer.quality.earlier_blocks import earlier_blocks
from steer.quality.nearby import blocks, other_sites, others, sample
from steer.quality.result import Check
from steer.quality.splice_loss import splice_loss

_CLEARLY = 0.02
"""A reading is better than the one as loaded if its FVU is lower by this much at least."""
_POOR = 0.5
"""If nothing near by fits better than this, all blocks and the block's other sites are tried."""


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
    dictionary = dictionary.to(device=model.device, dtype=torch.float32)
    x, y = collect(model, ids, source, out)
    given = earlier_blocks(model, dictionary, ids, out) if dictionary.config.partial else None
    published = _published(dictionary)
    most = _sparse_enough(dictionary, published)
    here = sample(x, y, given)
    # what earlier blocks write is known for this reading alone
    near = {} if given is not None else dict(others(model, ids, source, out, x, y))
    tried = {each.name: figures(each) for each in readings(dictionary, here, near)}
    if given is None and tried[_best(tried, most)].fvu > _POOR:
        far = blocks(model, ids, source, out, range(model.depth))
        for name, there in (*other_sites(model, ids, source, out), *far):
            if name not in tried:
                tried[name] = figures(Reading(name, dictionary, there))
    return Check(
        dictionary=dictionary.name or "unnamed",
        model=model.name,
        dtype=model.dtype,
        hookpoint=source,
        tokens=here.tokens,
        delta_ce=_delta_ce(model, dictionary, ids, here, source, out),
        published=published,
        readings=tried,
        best=_best(tried, most),
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


def _sparse_enough(dictionary: Dictionary, published: dict[str, float]) -> float:
    """Largest L0 of a reading that counts: with enough active features anything reconstructs."""
    k = published.get("l0", getattr(dictionary, "k", None))
    return 2 * k if k else float(dictionary.config.d_in)


def _best(tried: dict[str, Figures], most: float) -> str:
    """Lowest FVU among the sparse ones that fit; as loaded unless another is clearly better."""
    fitting = {name: each for name, each in tried.items() if each.fvu < 1}
    sparse = {name: each.fvu for name, each in fitting.items() if 0 < each.l0 <= most}
    if not sparse:
        return AS_LOADED
    best = min(sparse, key=lambda name: sparse[name])
    return best if sparse.get(AS_LOADED, float("inf")) - sparse[best] > _CLEARLY else AS_LOADED


def _delta_ce(
    model: LanguageModel, dictionary: Dictionary, ids: Tensor, here: Sample, source: str, out: str
) -> float:
    x = here.x
    keep, cutoff = keep_mask(x.norm(dim=-1), OUTLIER_MEDIANS)
    if source == out:
        return splice_loss(model, dictionary, ids, x[keep].mean(0), cutoff, batch=BATCH).delta
    return _transcoded(model, dictionary, ids, here, out)


def _transcoded(
    model: LanguageModel, dictionary: Dictionary, ids: Tensor, here: Sample, out: str
) -> float:
    """ΔCE of writing a transcoder's output in place of the site's own, at kept positions."""
    site, total = model.site(out), 0.0
    for rows, part in zip(ids.split(BATCH), here.split(BATCH), strict=True):
        written, mask = reconstruction(dictionary, part), torch.ones_like(rows)
        for sign, change in ((-1, lambda y: y), (1, _writer(written, part.keep[..., None]))):
            with model.lock:
                logits = plain.replace(model.nn, rows, mask, site, change)
            total += sign * metrics.cross_entropy(logits, rows).sum().item()
    return total / (ids.shape[0] * (ids.shape[1] - 1))


def _writer(written: Tensor, where: Tensor) -> Callable[[Tensor], Tensor]:
    return lambda y: torch.where(where, written.to(y.dtype), y)


__all__ = ["Check", "check", "refuse_other_model"]
