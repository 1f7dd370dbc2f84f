"""What a check of a dictionary saw, and what follows from it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from steer.quality.conventions import AS_LOADED, Figures

FVU_FACTOR, L0_FACTOR = 2.5, 3.0
"""Figures on other text than the published ones differ, but not by more than this."""
_AS_SPARSE = 1.5
"""An L0 within this of the published one is no accident: the encoder was read right."""
_WEAK = 0.5
_DENSE = 0.5
"""With more active features than this share of d, a fit says little of where a dictionary belongs.
"""
_SHOWN = 15


@dataclass(frozen=True, repr=False)
class Check:
    """What was seen on `tokens` kept tokens; first tokens and massive activations are left out.

    as_loaded: figures of the dictionary as it was loaded; delta_ce: nats that splicing it costs.
    published: l0, fvu, delta_ce that its card, the catalogue or the file states, where it does.
    readings: figures by convention, the one as loaded first.
    best: the reading that fits best; gain: how much lower its FVU is than that as loaded.
    d: width of the site.
    """

    dictionary: str
    model: str
    dtype: str
    hookpoint: str
    tokens: int
    delta_ce: float
    published: dict[str, float]
    readings: dict[str, Figures]
    best: str
    d: int

    def __repr__(self) -> str:
        return str(self)

    @property
    def as_loaded(self) -> Figures:
        return self.readings[AS_LOADED]

    @property
    def gain(self) -> float:
        return self.as_loaded.fvu - self.readings[self.best].fvu

    @property
    def passed(self) -> bool:
        """No other reading fits better, it beats the mean, and is near what is published."""
        seen = self.as_loaded
        return self.best == AS_LOADED and seen.fvu < 1 and not self._far_from_published(seen)

    @property
    def verdict(self) -> str:
        """One sentence."""
        seen = self.as_loaded
        if self.best != AS_LOADED:
            reading = self.readings[self.best]
            still = self._far_from_published(reading)
            return (
                f"not loaded as it was meant: “{self.best}” fits better, FVU {reading.fvu:.3f} "
                f"instead of {seen.fvu:.3f}, at L0 {reading.l0:.1f}"
                + (f"; but that is not as published either ({still})" if still else "")
            )
        if seen.fvu >= 1:
            return (
                f"fits no reading: FVU {seen.fvu:.3g} at {self.hookpoint} is no better "
                f"than the mean activation; {self._suspect()}"
            )
        if far := self._far_from_published(seen):
            return f"fits worse than published: {far}; another model, site or reading was meant"
        others = {k: f.fvu for k, f in self.readings.items() if k != AS_LOADED}
        nearest = min(others, key=lambda name: others[name])
        fits = "loaded right" if seen.fvu < _WEAK else "fits weakly, but nothing fits better"
        dense = seen.l0 > _DENSE * self.d
        return f"{fits}: next is “{nearest}” with FVU {others[nearest]:.3f}" + (
            f"; but with {seen.l0:.0f} active features in {self.d} dimensions any site can be "
            "reconstructed, so that this says little"
            if dense
            else ""
        )

    def _suspect(self) -> str:
        """What is wrong where no reading fits."""
        l0, seen = self.published.get("l0", 0), self.as_loaded
        if not l0 or not 1 / _AS_SPARSE < seen.l0 / l0 < _AS_SPARSE:
            return "it belongs to another site or model, or its weights are not what they should be"
        return (
            f"but it is as sparse as published (L0 {seen.l0:.1f}, {l0:.1f} published), so that it "
            "is the decoder that is wrong: its rows, their order, or the sign of its bias"
        )

    def _far_from_published(self, seen: Figures) -> str:
        stated = self.published
        far = []
        if "fvu" in stated and seen.fvu > FVU_FACTOR * max(stated["fvu"], 0.02):
            far.append(f"FVU {seen.fvu:.3f} instead of {stated['fvu']:.3f}")
        if (l0 := stated.get("l0", 0)) and not 1 / L0_FACTOR < seen.l0 / l0 < L0_FACTOR:
            far.append(f"L0 {seen.l0:.1f} instead of {l0:.1f}")
        return ", ".join(far)

    def to_dict(self) -> dict[str, Any]:
        """Plain data; figures that are not finite are None."""
        data = asdict(self) | {
            "readings": {name: asdict(reading) for name, reading in self.readings.items()},
            "gain": self.gain,
            "passed": self.passed,
            "verdict": self.verdict,
        }
        return _finite(data)

    def __str__(self) -> str:
        head = f"{self.dictionary} at {self.hookpoint} of {self.model}, {self.dtype}"
        lines = [f"{head}, {self.tokens:,} tokens"]
        seen = {"l0": self.as_loaded.l0, "fvu": self.as_loaded.fvu, "delta_ce": self.delta_ce}
        labels = {"l0": "L0", "fvu": "FVU", "delta_ce": "ΔCE (nats)"}
        for name, value in seen.items():
            stated = self.published.get(name)
            beside = "" if stated is None else f"   published {stated:.3f}"
            lines.append(f"  {labels[name]:<11}{value:8.3f}{beside}")
        lines.append(f"  {'silent':<11}{self.as_loaded.dead_share:8.1%}   on these tokens")
        best_first = sorted(self.readings, key=lambda name: self.readings[name].fvu)
        for name in [AS_LOADED, *(name for name in best_first if name != AS_LOADED)][:_SHOWN]:
            reading = self.readings[name]
            lines.append(f"  FVU {reading.fvu:10.3f}   L0 {reading.l0:8.1f}   {name}")
        if (more := len(self.readings) - _SHOWN) > 0:
            lines.append(f"  and {more} readings that fit worse")
        return "\n".join([*lines, self.verdict])


def _finite(data: Any) -> Any:
    if isinstance(data, dict):
        return {key: _finite(value) for key, value in data.items()}
    return None if isinstance(data, float) and abs(data) == float("inf") else data
