"""What a certificate says, to be read and to be sent."""

from __future__ import annotations

import math
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from dictionaries.files.place import sha256
from steer.certificates.evidence import Evidence
from steer.certificates.facts import Fact
from steer.certificates.figures import Stated
from steer.certificates.verdict import Verdict

_PACKAGES = ("sae-steer", "torch", "transformers", "nnsight", "numpy")
_LABELS = {
    "l0": "L0",
    "fvu": "FVU",
    "explained_variance": "explained",
    "delta_ce": "ΔCE (nats)",
    "ce_score": "CE score",
}


@dataclass(frozen=True)
class Certificate:
    """A verdict on a dictionary, and everything that it stands on.

    figures: by name the published value and bounds, None if none is published.
    measured: the same of the dictionary as loaded; empty if it could not be read.
    off, tolerance: how far recorded activations are off, and may be; None without any.
    readings: what each reading near by shows.
    files: sha256 of the dictionary's files; published_sha256: of the published file.
    """

    verdict: Verdict
    dictionary: str
    hookpoint: str | None
    architecture: str | None
    model: str
    fingerprint: str
    dtype: str
    tokens: int
    source: str | None
    facts: tuple[Fact, ...]
    figures: Mapping[str, Stated]
    measured: Mapping[str, float]
    off: float | None
    tolerance: float | None
    recorded: int
    readings: Mapping[str, Evidence]
    files: Mapping[str, str]
    published_sha256: str

    @property
    def agrees(self) -> bool:
        return self.verdict.word == "agrees"

    def to_dict(self) -> dict[str, Any]:
        """Plain data, with the versions that measured it; what is not finite is None."""
        return _finite(asdict(self) | {"agrees": self.agrees, "versions": versions()})

    def __str__(self) -> str:
        where = f" at {self.hookpoint}" if self.hookpoint else ""
        head = f"{self.dictionary}{where} of {self.model}, {self.dtype}, {self.tokens:,} tokens"
        lines = [head, *([f"published: {self.source}"] if self.source else [])]
        for name, label in _LABELS.items():
            if name in self.measured and (name in self.figures or name != "explained_variance"):
                lines.append(f"  {label:<12}{self.measured[name]:9.3f}{self._beside(name)}")
        if self.off is not None and self.tolerance is not None:
            mark = "" if self.off <= self.tolerance else "   deviates"
            allowed = f"recorded {self.recorded:,}, off by {self.off:.2g} of the largest"
            lines.append(f"  {'activations':<12}{allowed}, at most {self.tolerance:.2g}{mark}")
        for fact in self.facts:
            mark = "   deviates" if fact.agrees is False else ""
            lines.append(f"  {fact.name:<12}{fact.found}   published {fact.published}{mark}")
        return "\n".join([*lines, str(self.verdict)])

    def _beside(self, name: str) -> str:
        if name not in self.figures:
            return ""
        stated = self.figures[name]
        mark = "" if stated.agrees(self.measured[name]) else "   deviates"
        return f"   published {stated.value:.3f} ({stated.allowed}){mark}"


def versions() -> dict[str, str | None]:
    """Of the packages that measured it, and where."""
    return {
        **{package: _version(package) for package in _PACKAGES},
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
    }


def digests(place: Path) -> dict[str, str]:
    """sha256 of the files of a dictionary: of its folder, or its own."""
    files = [place] if place.is_file() else sorted(p for p in place.iterdir() if p.is_file())
    return {path.name: sha256(path) for path in files}


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:  # run from its source
        return None


def _finite(data: Any) -> Any:
    if isinstance(data, Mapping):
        return {key: _finite(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [_finite(value) for value in data]
    return None if isinstance(data, float) and not math.isfinite(data) else data
