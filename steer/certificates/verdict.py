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
    return _undecided(case) or _fits_better(case) or Verdict("agrees")


def kind_of(reading: str) -> str:
    """What a reading changes."""
    return next((kind for start, kind in _KINDS.items() if reading.startswith(start)), UNKNOWN)


def _deviates(case: Case, wrong: Sequence[Fact]) -> Verdict:
    """Which reading agrees with what is published, where the one as loaded does not."""
    name, seen = _fitting(case, case.seen), case.seen
    if name is None and not case.off and (found := _of_dtype(case, wrong)):
        return found
    if name is None:
        seen = {**case.far(), **case.seen}
        name = _fitting(case, seen)
    if name is not None:
        said = "".join(f"; {fact}" for fact in wrong)
        return Verdict("deviates", kind_of(name), name, _in_words(case, name, seen[name]) + said)
    if wrong:
        return _by_facts(wrong)
    what = ", ".join([*case.off, *(["recorded activations"] if case.misread else [])])
    return Verdict("deviates", UNKNOWN, None, f"{what}; by none of the readings that were tried")


def _fitting(case: Case, seen: Mapping[str, Evidence]) -> str | None:
    """The reading that agrees best, or that comes much nearer than the one as loaded."""
    figures, tolerance = case.said.figures, case.tolerance
    excess = {name: each.excess(figures, tolerance) for name, each in seen.items()}
    here = excess.pop(AS_LOADED)
    agreeing = [name for name in excess if excess[name] <= min(1.0, here)]
    if agreeing:
        return min(agreeing, key=lambda name: (seen[name].off or 0.0, seen[name].figures.fvu))
    nearest = min(excess, key=lambda name: excess[name], default=None)
    return nearest if nearest is not None and excess[nearest] * _NEARLY <= here else None


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


def _by_facts(wrong: Sequence[Fact]) -> Verdict:
    """The file says otherwise than what is published."""
    kind = _KINDS_OF_FACTS.get(wrong[0].name, wrong[0].name)
    return Verdict("deviates", kind, None, "; ".join(map(str, wrong)))


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
    if any(name in figures for name in _OF_RECONSTRUCTION):
        return None
    if here.off is None:
        what = "recorded activations, or a figure of the reconstruction ("
        return Verdict("undecided", reason=f"{what}{', '.join(_OF_RECONSTRUCTION)})")
    if _best(case) != AS_LOADED or here.figures.fvu > POOR:
        what = f"a figure of the reconstruction ({', '.join(_OF_RECONSTRUCTION)})"
        return Verdict(
            "undecided",
            reason=f"{what}: FVU is {here.figures.fvu:.3f}, and activations say nothing of the "
            "decoder",
        )
    return None


def _fits_better(case: Case) -> Verdict | None:
    """Another reading that agrees too, and fits better, where figures are of other texts."""
    best = _best(case)
    if case.as_loaded.off is not None or case.said.texts is not None or best == AS_LOADED:
        return None
    if case.seen[best].excess(case.said.figures, case.tolerance) > 1:
        return None
    return Verdict("deviates", kind_of(best), best, _in_words(case, best, case.seen[best]))


def _best(case: Case) -> str:
    return best_of({name: each.figures for name, each in case.seen.items()}, case.most)


def _in_words(case: Case, name: str, there: Evidence) -> str:
    here = case.as_loaded
    agrees = there.excess(case.said.figures, case.tolerance) <= 1
    beside = f"FVU {there.figures.fvu:.3f} instead of {here.figures.fvu:.3f}"
    if here.off is not None and there.off is not None:
        beside += f", activations off by {there.off:.2g} instead of {here.off:.2g}"
    return f"“{name}” {'agrees' if agrees else 'comes nearest'}: {beside}"
