"""The experiments by name. Their modules are imported only when they are run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from importlib import import_module

from apps.reproduce.modules import ExperimentModule
from apps.reproduce.result import Table
from apps.reproduce.settings import Settings
from steer.errors import SteerError


@dataclass(frozen=True)
class Experiment:
    """name: `e1`; word: what it may be called as well; title: one line.

    minutes: of a full and of a fast run on two cores, parts included; the estimate of `run_all`.
    """

    name: str
    word: str
    title: str
    minutes: tuple[float, float]

    @property
    def package(self) -> str:
        """Of its `ExperimentModule` and its `TableModule`."""
        return f"apps.reproduce.{self.name}_{self.word.replace('-', '_')}"

    @property
    def run(self) -> Callable[[Settings], Table]:
        module: ExperimentModule = import_module(f"{self.package}.experiment")
        return module.run


_ALL = (
    Experiment("e1", "frontier", "Reconstruction against sparsity", (75, 2)),
    Experiment("e2", "interpretability", "Interpretability without a judge", (15, 1.4)),
    Experiment("e3", "localisation", "Localisation of indirect object identification", (14, 1)),
    Experiment("e4", "cards", "Feature cards of the case studies", (11, 1)),
    Experiment("e5", "attribution", "Attribution against ablation", (7, 0.5)),
    Experiment("e6", "dose", "Dose response", (8, 0.7)),
    Experiment("e7", "steering", "Feature edits against other ways to steer", (20, 1.5)),
    Experiment("e8", "erasure", "Erasing gender", (12, 1)),
    Experiment("e9", "side-effects", "Side effects of edits", (3, 0.5)),
)
EXPERIMENTS: dict[str, Experiment] = {experiment.name: experiment for experiment in _ALL}


def find(name: str) -> Experiment:
    """By name or word, in any case. Raises `SteerError` with the nearest names."""
    by_word = {experiment.word: experiment for experiment in _ALL}
    experiment = EXPERIMENTS.get(name.lower()) or by_word.get(name.lower())
    if experiment is None:
        near = get_close_matches(name.lower(), [*EXPERIMENTS, *by_word], n=2)
        hint = f" Did you mean {' or '.join(near)}?" if near else ""
        known = ", ".join(f"{e.name} ({e.word})" for e in _ALL)
        raise SteerError(f"no experiment {name!r}.{hint} Experiments: {known}")
    return experiment
