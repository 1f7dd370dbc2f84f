"""What every method is asked about: a planted world, its outputs, and prompts for each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from torch import Tensor

from apps.studies.truth.score import Truth
from apps.studies.truth.world import FIRST, SILENT, World
from dictionaries.dictionary import Dictionary
from steer.edits import Ablate, Intervention
from steer.effects.metric import LogitDifference
from steer.effects.sweep.ablation_sweep import ablation_sweep
from steer.effects.sweep.result import Sweep

PROMPTS, FEW = 32, 10
ASKED = (0, 3, 5, 7, 10)
"""Of the outputs, those whose ancestors are asked for."""
TARGETS = (48, 50, 54)
"""Of t, the features whose trees are asked for."""
EVERYWHERE = "all"
"""These worlds have no massive first token."""


@dataclass(frozen=True, eq=False)
class Asked:
    """A world, and the seed of the prompts."""

    world: World
    seed: int

    def dictionary(self, site: int) -> Dictionary:
        return self.world.dictionaries[site]

    def metric(self, output: int) -> LogitDifference:
        return LogitDifference(FIRST + output, SILENT)

    def prompts(self, output: int, number: int = PROMPTS, draw: int = 0) -> list[str]:
        """Texts at whose end the feature is active that the output reads most."""
        main = next(iter(self.world.graph.reads[output]))
        return self.world.prompts(main, number, self.seed + 31 * draw)

    def about(self, feature: int, number: int = FEW) -> list[str]:
        """Texts at whose end the feature is active."""
        return self.world.prompts(feature, number, self.seed)

    def ablate(self, site: int, feature: int) -> Intervention:
        name = self.dictionary(site).name
        return Intervention(name, [Ablate(feature, positions=EVERYWHERE)])

    def ancestors(self, output: int, site: int) -> Truth:
        return Truth.of(self.world.graph.ancestors(output, site))

    @cached_property
    def sweeps(self) -> dict[tuple[int, int], Sweep]:
        """By output and site, the exact effects, which estimates are compared with."""
        return {
            (output, site): ablation_sweep(
                self.world.model,
                self.prompts(output),
                self.dictionary(site),
                metric=self.metric(output),
                positions=EVERYWHERE,
            )
            for site in (0, 1)
            for output in ASKED
        }


def largest(features: Sequence[int], values: Tensor) -> dict[int, float]:
    """Of each feature the largest |effect| on any prompt; values [features, prompts]."""
    return dict(zip(features, values.abs().amax(1).tolist(), strict=True))
