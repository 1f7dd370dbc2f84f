"""What each feature of any dictionary does on any texts, in units: blocks of their contexts.

So `"5x max"` and feature cards need neither a service nor the corpus that it was trained on. A unit
is a tally, and tallies merge to the same card however the corpus was split.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import reduce
from pathlib import Path

import torch
from torch import Tensor

from dictionaries.beside.statistics import FeatureStatistics
from dictionaries.dictionary import Dictionary
from dictionaries.measures.tally import Tally
from dictionaries.sites import in_residual_space
from steer.disk.content import dictionary_content
from steer.disk.ledger import Row
from steer.disk.remembered import digest
from steer.features.contexts import CONTEXT, contexts
from steer.features.fit import site_of
from steer.features.norm_gain import after_gain
from steer.features.statistics import cutoff, named, tallied
from steer.jobs.executors import Executor, executor_of
from steer.jobs.job import Opened, blocks
from steer.jobs.run import Spread, run
from steer.maths.numbers import check_whole
from steer.model import Model
from steer.progress import Progress

_MOST_UNITS = 64
"""Each is some megabytes of a file."""


@dataclass(frozen=True, eq=False)
class Tallies:
    """A tally of each block of contexts [n, length]: a row a unit."""

    dictionary: Dictionary
    hookpoint: str
    ids: Tensor
    block: int
    stage: str = "statistics"
    doing: str = "statistics"
    part: str = "corpus"
    parts: int = 1

    @property
    def units(self) -> list[range]:
        return blocks(len(self.ids), max(self.block, -(-len(self.ids) // _MOST_UNITS)))

    @property
    def most_units(self) -> int:
        return len(self.units)

    def open(self, model: Model, part: int) -> Opened:
        ids = self.ids.to(model.device)
        most = cutoff(model, self.hookpoint, ids)

        def rows(unit: int) -> list[Row]:
            own = ids[self.units[unit].start : self.units[unit].stop]
            block = tallied(model, self.dictionary, self.hookpoint, own, most)
            return [{"tally": block.packed()}]

        return Opened(len(self.units), rows)


def feature_statistics(
    model: Model,
    dictionary: Dictionary,
    texts: Sequence[str],
    *,
    tokens: int = 200_000,
    context: int = CONTEXT,
    corpus: str = "",
    block: int = 128,
    file: str | Path | None = None,
    shard: str | None = None,
    executor: str | Executor | None = None,
    progress: Progress | None = None,
) -> FeatureStatistics:
    """Density, maximum, mean, quantiles, top contexts and promoted tokens of every feature.

    The texts are joined and cut into contexts; first tokens and massive activations (norms above
    four medians, see `steer.features.statistics.cutoff`) don't count.

    tokens: most to read. corpus: the texts in words, kept with the figures.
    block: contexts of a unit of work; more where that would be more than 64 units.
    file, shard, executor: as `ablation_sweep` has them; a shard's figures are of its contexts
        alone, and name no tokens.
    Raises `PromptError` for too little text, `DictionaryError` for another model's dictionary,
    `SteerError` for a file of something else.
    """
    check_whole("block", block, least=1)
    spread = Spread.of(file, shard, executor_of(executor))
    read = after_gain(model, dictionary)
    hookpoint = site_of(model, read)
    ids = contexts(model, texts, tokens, context).cpu()
    read = read.to(dtype=torch.float32)
    header = {
        "statistics": 2,
        "model": model.fingerprint,
        "dtype": model.precision,
        "dictionary": dictionary_content(replace(read, statistics=None)),
        "contexts": [*ids.shape, digest(ids.tolist())],
        "block": block,
    }
    rows = run(Tallies(read, hookpoint, ids, block), model, spread, header, progress)
    parts = [Tally.unpacked(row["tally"]) for row in rows]
    whole = reduce(Tally.merged, parts, Tally.nothing(read.width))
    statistics = replace(whole.statistics(), corpus=corpus)
    written = read.config.hookpoint_out or hookpoint
    if not (spread.whole and in_residual_space(written)):
        return statistics
    return named(model, read, statistics)
