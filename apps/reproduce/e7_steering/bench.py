"""What E7's comparisons share, and what each of them gives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from apps.reproduce.kept.parts import weights_of
from apps.reproduce.settings import Settings
from dictionaries.dictionary import Dictionary
from steer.effects.passes.clean import Clean
from steer.evals.steering.answers import INSTRUCTIONS
from steer.evals.steering.judges import Fluency, Judge, Judges, Relevance
from steer.evals.steering.matched_doses import MatchedDose, read_texts

if TYPE_CHECKING:
    from steer.model import Model

BUDGET = 0.3
"""ΔCE that every edit costs, nats per token."""
REVISION = 2
"""Of the code that steers and rates: another one does not take results from the cache."""


@dataclass(frozen=True, eq=False)
class Steered:
    """What a method's answers were rated, [instructions, seeds, 3], at what dose.

    density: of the method's feature, if it has one.
    """

    concept: str
    method: str
    ratings: Tensor
    matched: MatchedDose | None
    density: float | None = None

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "ratings": self.ratings.tolist()}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Steered:
        matched = data["matched"] and MatchedDose(**data["matched"])
        ratings = torch.tensor(data["ratings"], dtype=torch.float64)
        return cls(data["concept"], data["method"], ratings, matched, data["density"])


@dataclass(frozen=True, eq=False)
class Bench:
    """What every comparison shares: the model, the neutral texts, questions and judges."""

    model: Model
    dictionary: Dictionary
    neutral: list[Clean]
    instructions: tuple[str, ...]
    seeds: tuple[int, ...]
    new_tokens: int
    relevance: Judge
    fluency: Judge
    budget: float = BUDGET

    def judges(self, concept: Judge) -> Judges:
        return Judges(concept, self.relevance, self.fluency)

    @property
    def made_of(self) -> dict[str, Any]:
        """What its results depend on, as JSON; the key under which they are kept."""
        return {
            "revision": REVISION,
            "model": self.model.fingerprint,
            "dtype": self.model.precision,
            "dictionary": weights_of(self.dictionary),
            "neutral": [clean.ids.tolist() for clean in self.neutral],
            "instructions": list(self.instructions),
            "seeds": list(self.seeds),
            "new_tokens": self.new_tokens,
            "budget": self.budget,
        }

    @property
    def start(self) -> float:
        """A dose to begin the search with: a tenth of the residual norm."""
        norms = torch.cat([clean.x[1:].float().norm(dim=-1) for clean in self.neutral])
        return 0.1 * norms.median().item()


def make_bench(
    settings: Settings,
    model: Model,
    dictionary: Dictionary,
    texts: Sequence[str],
    relevance: Judge | None = None,
    instructions: Sequence[str] = INSTRUCTIONS,
) -> Bench:
    """The shared things. relevance: by sentence embeddings if None."""
    return Bench(
        model=model,
        dictionary=dictionary,
        neutral=read_texts(model, texts, model.site_of(dictionary)),
        instructions=tuple(instructions[: settings.count(8, 4, least=4)]),
        seeds=tuple(settings.seed + i for i in range(settings.count(2, 1, least=1))),
        new_tokens=settings.count(24, 8, least=4),
        relevance=relevance or Relevance(),
        fluency=Fluency(model, settings.seed),
    )
