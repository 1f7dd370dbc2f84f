"""A sweep over what somebody would do without it: a pass a feature, or a tail by hand."""

from __future__ import annotations

import statistics
import time
from typing import TYPE_CHECKING

from apps.studies.bench.operations import Operations, tail
from apps.studies.bench.prompt import PROMPT
from apps.studies.bench.timed import Figure, figure, interleaved, seconds

if TYPE_CHECKING:
    from dictionaries.dictionary import Dictionary
    from steer.model import Model


def over_traces(model: Model, dictionary: Dictionary, cost: Operations, pairs: int) -> Figure:
    """One whole forward pass a feature, over the sweep's time a feature."""
    from steer.edits import Ablate, Intervention
    from steer.effects.defaults import TEXT
    from steer.effects.passes.changes import clean_for, encode_clean
    from steer.effects.sweep.ablation_sweep import ablation_sweep
    from steer.splice import passes

    ids, mask = model.tokenize([PROMPT])
    span, length = model.span(ids, mask), ids.shape[1]
    clean = clean_for(model, ids[0], dictionary, every=False)
    active = encode_clean(clean, dictionary)[1:] != 0
    features = active.any(0).nonzero().flatten().tolist()

    def one_trace(feature: int) -> float:
        edit = Intervention(dictionary.name, [Ablate(feature, positions=TEXT)])
        plans = model.plans([edit], [dictionary])
        return seconds(lambda: passes.logits(model.nn, ids, span, plans))

    one_trace(features[0])
    runs = []

    def all_at_once() -> float:
        return seconds(lambda: ablation_sweep(model, PROMPT, dictionary, positions=TEXT))

    for number in range(max(3, pairs // 2)):
        before = all_at_once() if number % 2 else None
        singles = [one_trace(feature) for feature in features[:6]]
        swept = all_at_once() if before is None else before
        runs.append(statistics.median(singles) * len(features) / swept)
    needed = cost.above * cost.block * tail(model, dictionary) + cost.unembedding
    return figure(tuple(runs), cost.token * length / needed)


def over_hooks(model: Model, dictionary: Dictionary, cost: Operations, pairs: int) -> Figure:
    """A loop of plain PyTorch hooks, a whole forward pass a feature, over the sweep's time."""
    from apps.studies.bench.by_hand import one_hook
    from steer.effects.defaults import TEXT
    from steer.effects.sweep.ablation_sweep import ablation_sweep

    ids, _ = model.tokenize([PROMPT])
    layer = cost.blocks - cost.above - 1
    block = model.module.get_submodule(model.anatomy.stack)[layer]
    delta = dictionary.W_dec[0].expand(ids.shape[1], -1) * 0.01

    def hooked() -> None:
        one_hook(block, model.module, ids, delta)

    runs = []
    hooked()
    for number in range(max(3, pairs // 2)):
        timed: dict[str, float] = {}
        for which in ("hooks", "sweep") if number % 2 == 0 else ("sweep", "hooks"):
            if which == "hooks":
                timed[which] = statistics.median(seconds(hooked) for _ in range(6))
            else:
                start = time.perf_counter()
                swept = ablation_sweep(model, PROMPT, dictionary, positions=TEXT)
                timed[which] = time.perf_counter() - start
        runs.append(timed["hooks"] * len(swept.features) / timed["sweep"])
    whole = cost.blocks * cost.block * ids.shape[1] + cost.unembedding
    return figure(tuple(runs), whole / (cost.above * cost.block * tail(model, dictionary)))


def over_batched(model: Model, dictionary: Dictionary, cost: Operations, pairs: int) -> Figure:
    """A batched tail written by hand for this prompt, over the sweep's time."""
    from apps.studies.bench.by_hand import batched
    from steer.effects.defaults import TEXT
    from steer.effects.sweep.ablation_sweep import ablation_sweep

    ids, _ = model.tokenize([PROMPT])
    layer = cost.blocks - cost.above - 1
    runs = interleaved(
        lambda: batched(model.module, ids, dictionary, layer),
        lambda: ablation_sweep(model, PROMPT, dictionary, positions=TEXT),
        max(3, pairs // 2),
    )
    return figure(runs, ids.shape[1] / tail(model, dictionary))
