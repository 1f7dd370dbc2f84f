"""What each reading of a dictionary shows: its figures, and recorded activations beside its own."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from dictionaries.dictionary import Dictionary
from steer.certificates.figures import OF_READINGS, Stated
from steer.certificates.recorded import Records
from steer.errors import HookpointError
from steer.features.contexts import collect
from steer.lm.language_model import LanguageModel
from steer.lm.placement import packing_of
from steer.loading import DTYPES, load
from steer.quality.conventions import Figures, Reading, figures
from steer.quality.nearby import sample
from steer.quality.tried import Subject

_NARROW = (torch.bfloat16, torch.float16)
_DISTINCT = 64
"""Fewer distinct weights than this could be of any dtype."""


@dataclass(frozen=True)
class Evidence:
    """Of one reading. off: how far recorded activations are, None if there are none."""

    figures: Figures
    off: float | None

    def same_as(self, other: Evidence) -> bool:
        """Whether nothing that was measured differs: two names of one reading."""
        pairs = zip(self._numbers(), other._numbers(), strict=True)
        return all(math.isclose(a, b, rel_tol=1e-5, abs_tol=1e-6) for a, b in pairs)

    def _numbers(self) -> tuple[float, ...]:
        return self.figures.l0, self.figures.fvu, self.off or 0.0

    def measured(self) -> dict[str, float]:
        fvu = self.figures.fvu
        return {"l0": self.figures.l0, "fvu": fvu, "explained_variance": 1 - fvu}

    def excess(self, published: Mapping[str, Stated], tolerance: float) -> float:
        """The largest deviation from what is published, in units of what is allowed."""
        measured = self.measured()
        parts = [
            published[name].excess(measured[name]) for name in OF_READINGS if name in published
        ]
        parts += [] if self.off is None else [self.off / tolerance]
        return max(parts, default=math.inf)


@dataclass(frozen=True, eq=False)
class Tokens:
    """What is read: ids [n, length] for figures, and the recorded texts if there are any.

    massive: whether first and massive tokens count in figures.
    """

    ids: Tensor
    records: Records | None
    massive: bool


def near(subject: Subject, tokens: Tokens, site: str | None = None) -> dict[str, Evidence]:
    """Of the dictionary as loaded, and of the readings near by; site: the published one."""
    here = subject.here(tokens.ids)
    on_texts, records = subject.near(tokens.ids, here), tokens.records
    on_records: Iterator[Reading] | None = None
    if records is not None:
        there = _unsplit(subject).here(records.ids)
        on_records = subject.near(records.ids, there, here.norms)
    seen = _paired(on_texts, on_records, tokens)
    if site not in (None, subject.source):
        seen |= _elsewhere(subject, tokens, str(site))
    return seen


def far(subject: Subject, tokens: Tokens) -> dict[str, Evidence]:
    """Of other blocks, and the block's other sites."""
    records = tokens.records
    on_records = None if records is None else subject.far(records.ids)
    return _paired(subject.far(tokens.ids), on_records, tokens)


def rounded(
    subject: Subject, tokens: Tokens, as_loaded: Evidence
) -> Iterator[tuple[str, Evidence]]:
    """Name and evidence with weights, then the model, in another dtype; for records alone."""
    records = tokens.records
    if records is None:
        return
    (x,) = collect(subject.model, records.ids, subject.source)
    for dtype in _NARROW:
        name = str(dtype).removeprefix("torch.")
        cast = subject.dictionary.to(dtype=dtype).to(dtype=torch.float32)
        off = records.error(_features(cast, x, records))
        yield f"weights in {name}", replace(as_loaded, off=off)
    for name in ("bfloat16", "float16", "float32") if _can_be_cast(subject.model) else ():
        if name != subject.model.dtype:
            (x,) = collect(_in_dtype(subject.model, name), records.ids, subject.source)
            off = records.error(_features(subject.dictionary, x, records))
            yield f"model in {name}", replace(as_loaded, off=off)


def held_dtype(dictionary: Dictionary) -> str:
    """The narrowest dtype that holds the encoder's or the decoder's matrix without rounding."""
    for matrix in (dictionary.W_dec, dictionary.W_enc):
        if len(matrix.flatten()[: 2**20].unique()) < _DISTINCT:
            continue
        for dtype in _NARROW:
            if torch.equal(matrix, matrix.to(dtype).to(matrix.dtype)):
                return str(dtype).removeprefix("torch.")
    return "float32"


def _unsplit(subject: Subject) -> Subject:
    """The same without what earlier blocks write: no feature depends on it."""
    config = replace(subject.dictionary.config, partial=False)
    return replace(subject, dictionary=replace(subject.dictionary, config=config))


def _elsewhere(subject: Subject, tokens: Tokens, site: str) -> dict[str, Evidence]:
    """At the published site, if the model has it and it is as wide."""
    model = subject.model
    try:
        width = model.width(model.site(site))
    except HookpointError:
        return {}
    if width != subject.dictionary.config.d_in or subject.dictionary.is_transcoder:
        return {}

    def reading(ids: Tensor) -> Reading:
        (x,) = collect(model, ids, site)
        return Reading(f"the published site, {site}", subject.dictionary, sample(x, x))

    on_records = None if tokens.records is None else iter([reading(tokens.records.ids)])
    return _paired(iter([reading(tokens.ids)]), on_records, tokens)


def _paired(
    on_texts: Iterator[Reading], on_records: Iterator[Reading] | None, tokens: Tokens
) -> dict[str, Evidence]:
    """By name; both give the same names in the same order."""
    seen = {}
    for reading in on_texts:
        there = None if on_records is None else next(on_records)
        if there is not None and there.name != reading.name:
            raise AssertionError(f"{reading.name} on texts, {there.name} on records")
        if tokens.massive:
            every = torch.ones_like(reading.sample.keep)
            reading = replace(reading, sample=replace(reading.sample, keep=every))
        off = None
        if there is not None and tokens.records is not None:
            off = tokens.records.error(_features(there.dictionary, there.sample.x, tokens.records))
        seen[reading.name] = Evidence(figures(reading), off)
    return seen


@torch.inference_mode()
def _features(dictionary: Dictionary, x: Tensor, records: Records) -> Tensor:
    """The recorded features' activations [n, s, m] on x [n, s, d]."""
    rows = [dictionary.encode_texts(row[None])[0][..., list(records.features)] for row in x]
    return torch.cat(rows)


def _can_be_cast(model: LanguageModel) -> bool:
    """Not if it is quantised, or some of it is not in memory."""
    weights = model.module.parameters()
    offloaded = any(weight.device.type == "meta" for weight in weights)
    return not offloaded and not packing_of(model.module)


def _in_dtype(model: LanguageModel, dtype: str) -> LanguageModel:
    """A copy of the model; the one that was given stays as it is."""
    return load(copy.deepcopy(model.module).to(DTYPES[dtype]), tokenizer=model.tokenizer)
