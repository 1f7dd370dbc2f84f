"""From what was measured to one verdict: agrees, deviates and in what, or what is missing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from steer.certificates.evidence import Evidence
from steer.certificates.facts import DTYPE, Fact
from steer.certificates.published import Published
from steer.quality.conventions import AS_LOADED
from steer.quality.tried import POOR, best_of

Word = Literal["agrees", "deviates", "undecided"]
_OF_RECONSTRUCTION = ("fvu", "explained_variance", "delta_ce", "ce_score")
_NEARLY = 4.0
"""A reading that is off by so much less than the one as loaded is the deviation, or near it."""
_TOLD_APART = 0.1
"""So much of what is allowed is an accident of the texts."""
_TO_TELL = "recorded activations"
_SHOWN = 3
_MAY_BE_ROUNDED = 0.1
"""Activations that are off by no more than this may be of another dtype."""
_HALF = 2.0
"""By how much another dtype must come nearer."""
_KINDS = {
    "another block": "block",
    "another site": "site",
    "the published site": "site",
    "block input": "site",
    "block output": "site",
    "before the norm,": "site",
    "before the norm's gain": "norm",
    "norm factor": "norm",
    "normalisation": "norm",
    "residual centred": "norm",
    "decoder bias": "bias",
    "with BOS": "bos",
    "without BOS": "bos",
    "W_": "transposed",
    "weights in": "dtype",
    "model in": "dtype",
}
"""What a reading changes, by how its name begins."""
_KINDS_OF_FACTS = {"site_out": "site", "prepend_bos": "bos"}
UNKNOWN = "unknown"


@dataclass(frozen=True)
class Verdict:
    """deviation: its kind, one of site, block, norm, bias, transposed, dtype, bos, kind or unknown.
    reading: the one that agrees instead, if one does.
    reason: the deviation in words, or what is missing; empty if it agrees.
    """

    word: Word
    deviation: str | None = None
    reading: str | None = None
    reason: str = ""

    def __str__(self) -> str:
        return f"{self.word}: {self.reason}" if self.reason else self.word


@dataclass(frozen=True, eq=False)
class Case:
    """What a verdict is of.

    measured: of the dictionary as loaded, by name. most: largest L0 of a reading that counts.
    seen: the readings near by; far, rounded: ask for those that take longer.
    model_dtype: of the model that was read.
    """

    said: Published
    facts: tuple[Fact, ...]
    measured: Mapping[str, float]
    tolerance: float
    most: float
    model_dtype: str
    seen: Mapping[str, Evidence]
    far: Callable[[], Mapping[str, Evidence]]
    rounded: Callable[[], Iterable[tuple[str, Evidence]]]

    @property
    def as_loaded(self) -> Evidence:
        return self.seen[AS_LOADED]

    def excess(self, evidence: Evidence) -> float:
        """How far a reading is from what is published, 1 being what is allowed."""
        return evidence.excess(self.said.figures, self.tolerance)

    @property
    def misread(self) -> bool:
        """Whether recorded activations deviate."""
        return self.as_loaded.off is not None and self.as_loaded.off > self.tolerance

    @property
    def off(self) -> list[str]:
        """Figures that deviate."""
        stated, measured = self.said.figures, self.measured
        return [n for n in stated if n in measured and not stated[n].agrees(measured[n])]


def decide(case: Case) -> Verdict:
    """The verdict, with whatever else has to be tried for it."""
    wrong = [fact for fact in case.facts if fact.agrees is False]
    if case.misread or case.off:
        return _deviates(case, wrong)
    if wrong:
        return _by_facts(wrong)
    return _undecided(case) or Verdict("agrees")


def kind_of(reading: str) -> str:
    """What a reading changes."""
    return next((kind for start, kind in _KINDS.items() if reading.startswith(start)), UNKNOWN)


def _deviates(case: Case, wrong: Sequence[Fact]) -> Verdict:
    """Which reading agrees with what is published, where the one as loaded does not."""
    seen = case.seen
    name = _nearest(case, seen)
    if name is None and not case.off and (verdict := _of_dtype(case, wrong)):
        return verdict
    if name is None or case.as_loaded.off is None:
        seen = {**seen, **{n: evidence for n, evidence in case.far().items() if n not in seen}}
        name = _nearest(case, seen)
    facts = "".join(f"; {fact}" for fact in wrong)
    if name is None and wrong:
        return _by_facts(wrong)
    if name is None:
        deviating = ", ".join([*case.off, *(["recorded activations"] if case.misread else [])])
        reason = f"{deviating}; by none of the readings that were tried"
        return Verdict("deviates", UNKNOWN, None, reason)
    if alike := _alike(case, seen, name):
        if wrong:
            return _by_facts(wrong, [name, *alike])
        reason = f"{_listed([name, *alike])} agree alike; {_TO_TELL} would tell which"
        return Verdict("deviates", UNKNOWN, None, reason)
    return Verdict("deviates", kind_of(name), name, _in_words(case, name, seen[name]) + facts)


def _nearest(case: Case, seen: Mapping[str, Evidence]) -> str | None:
    """The reading that agrees best, or that comes much nearer than the one as loaded."""
    others = [name for name in seen if name != AS_LOADED]
    name = min(others, key=lambda name: case.excess(seen[name]), default=None)
    if name is None or case.excess(seen[name]) >= case.excess(case.as_loaded):
        return None
    close = case.excess(seen[name]) * _NEARLY <= case.excess(case.as_loaded)
    return name if close or case.excess(seen[name]) <= 1 else None


def _alike(case: Case, seen: Mapping[str, Evidence], name: str) -> list[str]:
    """Readings that what is published does not tell from this one, nearest first."""
    nearest = seen[name]
    most = min(1.0, max(_NEARLY * case.excess(nearest), _TOLD_APART))
    others = [n for n, evidence in seen.items() if n != name and not evidence.same_as(nearest)]
    alike = [n for n in others if case.excess(seen[n]) <= most]
    return sorted(alike, key=lambda n: case.excess(seen[n]))


def _of_dtype(case: Case, wrong: Sequence[Fact]) -> Verdict | None:
    """Activations that are off by a rounding, and whose."""
    here = case.as_loaded.off
    if here is None or here > _MAY_BE_ROUNDED:
        return None
    if any(fact.name == DTYPE for fact in wrong):
        return _by_facts(wrong)
    if case.said.model_dtype not in (None, case.model_dtype):
        return Verdict("undecided", reason=f"the model in {case.said.model_dtype}, as published")
    tried = dict(case.rounded())
    name = min(tried, key=lambda name: tried[name].off or 0.0)
    if (tried[name].off or 0.0) * _HALF > here:
        return None
    return Verdict("deviates", DTYPE, name, _in_words(case, name, tried[name]))


def _by_facts(wrong: Sequence[Fact], agreeing: Sequence[str] = ()) -> Verdict:
    """The file says otherwise than what is published; agreeing: readings that do agree."""
    kind = _KINDS_OF_FACTS.get(wrong[0].name, wrong[0].name)
    stated = {fact.published for fact in wrong}
    reading = next((name for name in agreeing if name.rpartition(" ")[2] in stated), None)
    return Verdict("deviates", kind, reading, "; ".join(map(str, wrong)))


def _undecided(case: Case) -> Verdict | None:
    """What is missing, where all that can be compared agrees."""
    figures, here = case.said.figures, case.as_loaded
    if not figures and here.off is None:
        return Verdict("undecided", reason="figures or recorded activations, to compare with")
    if unmeasured := [name for name in figures if name not in case.measured]:
        return Verdict(
            "undecided", reason=f"{', '.join(unmeasured)} of a transcoder is not measured"
        )
    if any(fact.agrees is None for fact in case.facts):
        return Verdict(
            "undecided",
            reason="recorded activations that are not rounded, to tell whether the weights were",
        )
    if not any(name in figures for name in _OF_RECONSTRUCTION):
        return _without_reconstruction(case)
    if alike := _alike(case, case.seen, AS_LOADED):
        reason = f"{_TO_TELL}, to tell the dictionary as loaded from {_listed(alike)}"
        return Verdict("undecided", reason=reason)
    return None


def _without_reconstruction(case: Case) -> Verdict | None:
    """Activations alone say nothing of a decoder, unless it fits well and nothing fits better."""
    here, names = case.as_loaded, ", ".join(_OF_RECONSTRUCTION)
    if here.off is None:
        reason = f"recorded activations, or a figure of the reconstruction ({names})"
        return Verdict("undecided", reason=reason)
    best = best_of({name: evidence.figures for name, evidence in case.seen.items()}, case.most)
    if best == AS_LOADED and here.figures.fvu <= POOR:
        return None
    reason = f"a figure of the reconstruction ({names}): FVU is {here.figures.fvu:.3f}"
    return Verdict("undecided", reason=f"{reason}, and activations say nothing of the decoder")


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(f"“{name}”" for name in names[:_SHOWN])
    return shown if len(names) <= _SHOWN else f"{shown} and {len(names) - _SHOWN} more"


def _in_words(case: Case, name: str, there: Evidence) -> str:
    here = case.as_loaded
    agrees = case.excess(there) <= 1
    beside = f"FVU {there.figures.fvu:.3f} instead of {here.figures.fvu:.3f}"
    if here.off is not None and there.off is not None:
        beside += f", activations off by {there.off:.2g} instead of {here.off:.2g}"
    return f"“{name}” {'agrees' if agrees else 'comes nearest'}: {beside}"
