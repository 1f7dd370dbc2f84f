"""The readings that are tried of one dictionary on some tokens: near by at first, then far away."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from dictionaries.dictionary import Dictionary
from steer.features.contexts import collect
from steer.lm.language_model import LanguageModel
from steer.quality.conventions import AS_LOADED, Figures, Reading, Sample, readings
from steer.quality.earlier_blocks import earlier_blocks
from steer.quality.nearby import blocks, other_sites, others, sample

CLEARLY = 0.02
"""A reading is better than the one as loaded if its FVU is lower by this much at least."""
POOR = 0.5
"""If nothing near by fits better than this, all blocks and the block's other sites are tried."""


@dataclass(frozen=True, eq=False)
class Subject:
    """A dictionary in fp32 on the model's device, and the sites of the model that it is for."""

    model: LanguageModel
    dictionary: Dictionary
    source: str
    out: str

    @classmethod
    def of(cls, model: LanguageModel, dictionary: Dictionary, source: str, out: str) -> Subject:
        return cls(model, dictionary.to(model.device, torch.float32), source, out)

    def here(self, ids: Tensor) -> Sample:
        """What the sites hold on ids [n, length], with what earlier blocks write there."""
        x, y = collect(self.model, ids, self.source, self.out)
        partial = self.dictionary.config.partial
        given = earlier_blocks(self.model, self.dictionary, ids, self.out) if partial else None
        return sample(x, y, given)

    def near(
        self, ids: Tensor, here: Sample, norms: tuple[float, float] | None = None
    ) -> Iterator[Reading]:
        """As loaded, then one convention, or a site near by, changed at a time.

        norms: as `readings` takes them.
        """
        sites: dict[str, Sample] = {}
        if not self.dictionary.config.partial:  # what earlier blocks write is known here alone
            sites |= others(self.model, ids, self.source, self.out, here.x, here.y)
        yield from readings(self.dictionary, here, sites, norms)

    def far(self, ids: Tensor) -> Iterator[Reading]:
        """The block's other sites, and all other blocks; few tokens of each."""
        if self.dictionary.config.partial:
            return
        yield from (
            Reading(name, self.dictionary, there)
            for name, there in (
                *other_sites(self.model, ids, self.source, self.out),
                *blocks(self.model, ids, self.source, self.out, range(self.model.depth)),
            )
        )


def best_of(tried: dict[str, Figures], most: float) -> str:
    """Lowest FVU among the sparse ones that fit; as loaded unless another is clearly better.

    most: largest L0 of a reading that counts.
    """
    fitting = {name: figures for name, figures in tried.items() if figures.fvu < 1}
    sparse = {name: figures.fvu for name, figures in fitting.items() if 0 < figures.l0 <= most}
    if not sparse:
        return AS_LOADED
    best = min(sparse, key=lambda name: sparse[name])
    return best if sparse.get(AS_LOADED, float("inf")) - sparse[best] > CLEARLY else AS_LOADED


def sparse_enough(dictionary: Dictionary, published: dict[str, float]) -> float:
    """Largest L0 of a reading that counts: with enough active features anything reconstructs."""
    k = published.get("l0", getattr(dictionary, "k", None))
    return 2 * k if k else float(dictionary.config.d_in)
