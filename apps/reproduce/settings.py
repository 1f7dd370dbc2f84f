"""How an experiment is run: on which model, how much of it, and where its results go."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from steer.disk.cache import cache_folder
from steer.errors import SteerError
from steer.progress import Progress

if TYPE_CHECKING:
    from steer.model import Model

RESULTS = Path("results")


def silent(what: str, done: int, total: int) -> None:
    """A `Progress` that shows nothing."""


@dataclass(frozen=True)
class Settings:
    """Two runs with equal settings give equal tables.

    model: what `steer.load` takes: a known name, a folder or a hub id.
    fast: small samples, for minutes rather than hours.
    seed: of every sample, initialisation and resample.
    scale: multiplies every sample size; below 1 only to try the code out.
    tokens: how many to harvest; None is the experiment's own number.
    corpora: corpus name -> share, of the harvested text; None is the default recipe's mixture.
    judge: the language model that E2 asks, as `endpoint` calls it, or a local one; None asks none.
    endpoint: an OpenAI-compatible URL.
    out: where the results are written.
    cache: where the parts are kept; by default `STEER_CACHE`/reproduce.
    """

    model: str = "smollm2-135m"
    fast: bool = False
    seed: int = 0
    scale: float = 1.0
    tokens: int | None = None
    corpora: tuple[tuple[str, float], ...] | None = None
    judge: str | None = None
    endpoint: str | None = None
    out: Path = RESULTS
    cache: Path = field(default_factory=lambda: cache_folder() / "reproduce")
    progress: Progress = field(default=silent, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not 0 < self.scale <= 1:
            raise SteerError(f"scale must be above 0 and at most 1, not {self.scale}")
        if self.endpoint and not self.judge:
            raise SteerError("an endpoint needs a judge: the name of a model that it serves")

    def count(self, full: int, fast: int, least: int = 2) -> int:
        """A sample size: `full`, or `fast` in a fast run, times the scale; `least` at least."""
        return max(least, round((fast if self.fast else full) * self.scale))

    def showing(self, progress: Progress) -> Settings:
        """The same settings, reporting to `progress`."""
        return replace(self, progress=progress)

    def load(self, dtype: str = "float32") -> Model:
        """The model; the same object each time."""
        return _load(self.model, dtype)


@lru_cache(maxsize=2)
def _load(name: str, dtype: str) -> Model:
    from steer.loading import load

    return load(name, dtype=dtype)
