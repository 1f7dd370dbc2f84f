"""The causal half of a feature's card: what it is computed from, and what stands in for that."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from torch import Tensor

from apps.reproduce.e4_cards.table import Part
from dictionaries.dictionary import Dictionary
from steer.effects.tree.causal_tree import causal_tree

if TYPE_CHECKING:
    from steer.model import Model


def strong_texts(
    model: Model, dictionary: Dictionary, feature: int, ids: Tensor, features: Tensor
) -> list[str]:
    """Texts in which the feature reaches half of its maximum: those read, and the windows kept
    with the dictionary, up to their strongest token. ids, features [n, s]."""
    assert dictionary.statistics is not None
    half = dictionary.statistics.maximum[feature] / 2
    strong = [ids[row] for row in (features.amax(1) >= half).nonzero().flatten().tolist()]
    for window, values in zip(
        dictionary.statistics.contexts[feature],
        dictionary.statistics.context_activations[feature],
        strict=True,
    ):
        upto = window[: int(values.argmax()) + 1]
        strong.append(upto[upto >= 0])
    texts = [model.tokenizer.decode(row.tolist()) for row in strong if len(row) > 1]
    return list(dict.fromkeys(text for text in texts if text.strip()))


def tree_parts(
    model: Model,
    later: Dictionary,
    earlier: Dictionary,
    case: str,
    feature: int,
    strong: Sequence[str],
    contexts: int,
    parents: int,
    seed: int,
) -> list[Part]:
    """Parents in the earlier dictionary, in contexts of the upper half of the range, and what
    stands in for the best of them."""
    tree = causal_tree(
        model,
        [later, earlier],
        feature,
        strong,
        contexts=contexts,
        parents=parents,
        hydra=True,
        seed=seed,
    )
    parts = []
    for edge in tree.parents():
        node = tree.nodes[edge.parent]
        parts.append(
            Part(
                *(case, "parent", f"{node.hookpoint}/{node.feature}", edge.drop),
                *(edge.low, edge.high, edge.share, edge.active),
                f"fires on {_peaks(model, earlier, node.feature)}; q {edge.q:.2g}",
            )
        )
    for backup in tree.backups:
        gone = f"with {backup.top} gone; alone {backup.alone:.3g}"
        name = f"{model.site_of(earlier)}/{backup.feature}"
        parts.append(Part(case, "hydra", name, backup.given, backup.low, backup.high, text=gone))
    return parts


def _peaks(model: Model, dictionary: Dictionary, feature: int, top: int = 3) -> str:
    """The commonest tokens at which the feature's top contexts peak."""
    statistics = dictionary.statistics
    assert statistics is not None
    peak = statistics.context_activations[feature].argmax(-1, keepdim=True)
    tokens = statistics.contexts[feature].gather(-1, peak).flatten().tolist()
    names = [model.token(token) for token in tokens if token >= 0]
    counts = {name: names.count(name) for name in names}
    ranked = sorted(counts, key=lambda name: (-counts[name], name))
    return ", ".join(repr(name) for name in ranked[:top])
