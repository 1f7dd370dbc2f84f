"""E4: cards of the paper's case studies, a closing bracket and an apostrophe.

The shipped dictionary at block 20 is searched for the feature that best detects a kind of token, or
the token before one, on one half of the texts; the other half says how good it is. Its card: what
it fires on, by strength; which tokens lose log-probability when it is ablated, down to inactivity
and no further (a less-than-rank-one ablation), against a random direction of the same norm; which
features of block 10 it is computed from; and what stands in for the best of those once it is gone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from apps.reproduce.e4_cards.detectors import Detector, Score, best_detector, histogram, score
from apps.reproduce.e4_cards.table import Part, tabulate
from apps.reproduce.e4_cards.tree import strong_texts, tree_parts
from apps.reproduce.kept.results import rows_of_each
from apps.reproduce.result import Table
from apps.reproduce.settings import Settings
from apps.reproduce.shared import bases, texts
from dictionaries.baselines import neurons, pca
from dictionaries.dictionary import Dictionary
from steer.edits import Ablate
from steer.effects.passes.changes import read_changes
from steer.effects.passes.clean import run_clean
from steer.maths.statistics import interval

if TYPE_CHECKING:
    from steer.model import Model

REVISION = 2
"""Of what a row means: raise it, and interrupted runs start anew."""
SITE, EARLIER = "resid_post.20", "resid_post.10"
SOURCES = ("news", "wordnet", "python")
CASES = {"closing bracket": r".*\).*", "apostrophe": r"\s*['’](s|t|re|ll|ve|m|d)?"}
"""Case -> which tokens it is about. The default model's vocabulary has 's as one token, where the
paper's has an apostrophe and an s."""
PLACES = ("at", "before")
"""Whether a detector is to fire at such a token, or at the token before, and so predict it."""
LENGTH = 40
ABLATED = 20
"""Tokens at which the feature is ablated for its output effect."""


@dataclass(frozen=True, eq=False)
class Read:
    """Texts of tokens ids [n, s], and what stands at the site, x [n, s, d].

    keep [n, s]: tokens that count. Detectors are searched on the first half, judged on the second.
    """

    ids: Tensor
    x: Tensor
    keep: Tensor

    @property
    def half(self) -> int:
        return len(self.ids) // 2

    def features(self, dictionary: Dictionary, texts: slice = slice(None)) -> Tensor:
        """Activations [n, s, width] of some texts, 0 where tokens do not count."""
        features = dictionary.encode(self.x[texts])[0]
        features[~self.keep[texts]] = 0
        return features


@dataclass(frozen=True)
class Sizes:
    """Texts that are read, contexts and parents of a tree."""

    texts: int
    contexts: int
    parents: int


def run(settings: Settings) -> Table:
    """Both cases in the shipped dictionary at block 20, with its parents in that at block 10."""
    model = settings.load()
    later, earlier = (model.dictionary(f"{settings.model}/{site}") for site in (SITE, EARLIER))
    sizes = Sizes(
        texts=settings.count(full=120, fast=72, least=4),
        contexts=settings.count(full=20, fast=2),
        parents=settings.count(full=5, fast=3),
    )
    pieces = texts.passages(model, sizes.texts, LENGTH, settings.seed, SOURCES)
    given = [piece.text for piece in pieces]
    read: list[Read] = []  # read once, and only if a case is not in the ledger

    def find(item: tuple[str, str]) -> list[Part]:
        if not read:
            read.append(read_texts(model, model.site_of(later), given))
        return card(model, later, earlier, item[0], item[1], read[0], sizes, settings.seed)

    cases = {name: (name, pattern) for name, pattern in CASES.items()}
    made_of: dict[str, Any] = {
        "revision": REVISION,
        "texts": given,
        "sizes": list(vars(sizes).values()),
    }
    parts = rows_of_each(settings, "feature cards", made_of, cases, find, Part)
    return tabulate(parts, [case for case in CASES if case not in {part.case for part in parts}])


def read_texts(model: Model, site: str, given: Sequence[str], batch: int = 8) -> Read:
    """Activations at the site of texts of equal length."""
    ids, values = [], []
    for start in range(0, len(given), batch):
        tokens, mask = model.tokenize(list(given[start : start + batch]))
        (x,) = model.collect(tokens, mask, [site]).values()
        ids.append(tokens)
        values.append(x.float())
    stacked = torch.cat(ids)
    keep = torch.ones_like(stacked, dtype=torch.bool)
    keep[:, 0] = False
    return Read(stacked, torch.cat(values), keep)


def card(
    model: Model,
    later: Dictionary,
    earlier: Dictionary,
    case: str,
    pattern: str,
    read: Read,
    sizes: Sizes,
    seed: int,
) -> list[Part]:
    """Everything about one case; nothing if no feature detects it in the texts searched."""
    kinds = of_kind(model, read.ids, pattern)
    place, detector = search(later, read, kinds)
    if not detector.f1:
        return []
    wanted = kinds[place]
    features = read.features(later)[..., detector.feature]
    names = [model.token(token) for token in read.ids.flatten().tolist()]
    parts = _detection(case, place, later, detector, read, wanted)
    parts += _controls(case, place, read, wanted)
    for step in histogram(features.flatten(), names, wanted.flatten()):
        common = ", ".join(f"{token!r} {count}" for token, count in step.tokens)
        what = f"{step.low:.1f} to {step.high:.1f}"
        parts.append(Part(case, "input", what, share=step.share, n=step.count, text=common))
    parts += _output(model, later, case, pattern, detector.feature, read, features, seed)
    strong = strong_texts(model, later, detector.feature, read.ids, features)
    return parts + tree_parts(
        model,
        later,
        earlier,
        case,
        detector.feature,
        strong,
        sizes.contexts,
        sizes.parents,
        seed,
    )


def of_kind(model: Model, ids: Tensor, pattern: str) -> dict[str, Tensor]:
    """Place -> mask [n, s] of the tokens that are of the kind, or before one; never the first."""
    kinds = {
        token: bool(re.fullmatch(pattern, model.token(token)))
        for token in set(ids.flatten().tolist())
    }
    at = torch.tensor([[kinds[token] for token in row] for row in ids.tolist()])
    before = torch.zeros_like(at)
    before[:, :-1] = at[:, 1:]
    at[:, 0] = before[:, 0] = False
    return {"at": at, "before": before}


def search(dictionary: Dictionary, read: Read, kinds: Mapping[str, Tensor]) -> tuple[str, Detector]:
    """The best detector of either place on the first half of the texts."""
    flat = read.features(dictionary, slice(read.half)).flatten(0, 1)
    best = {place: best_detector(flat, kinds[place][: read.half].flatten()) for place in PLACES}
    place = max(PLACES, key=lambda candidate: best[candidate].f1)
    return place, best[place]


def judged(dictionary: Dictionary, detector: Detector, read: Read, wanted: Tensor) -> Score:
    """How good a detector is on the second half of the texts; wanted [n, s]."""
    judging = slice(read.half, None)
    features = read.features(dictionary, judging)[..., detector.feature]
    return score(detector, list(features), list(wanted[judging]))


def _detection(
    case: str, place: str, dictionary: Dictionary, detector: Detector, read: Read, wanted: Tensor
) -> list[Part]:
    scores = judged(dictionary, detector, read, wanted)
    fires = f"fires {place} the token, above {detector.threshold:.3g}"
    number = int(wanted[read.half :].sum())
    name = f"{dictionary.name} {detector.feature}"
    return [
        Part(
            case,
            f"detector {measure}",
            name,
            share.mean,
            share.low,
            share.high,
            n=number,
            text=fires,
        )
        for measure, share in vars(scores).items()
    ]


def _controls(case: str, place: str, read: Read, wanted: Tensor) -> list[Part]:
    """The best principal component and the best neuron, searched in the same way."""
    flat = read.x[: read.half, 1:].flatten(0, 1)
    mean = flat.mean(0)
    names = {"PCA": pca(flat), "neurons": bases.centred(neurons(read.x.shape[-1]), mean)}
    parts: list[Part] = []
    for name, dictionary in names.items():
        _, detector = search(dictionary, read, dict.fromkeys(PLACES, wanted))
        own = _detection(case, place, dictionary, detector, read, wanted)
        parts += [Part(**{**vars(part), "what": f"best of {name}"}) for part in own]
    return parts


def _output(
    model: Model,
    dictionary: Dictionary,
    case: str,
    pattern: str,
    feature: int,
    read: Read,
    features: Tensor,
    seed: int,
    top: int = 8,
) -> list[Part]:
    """Change of log-probabilities of the next token, the feature ablated where it is strongest."""
    strongest = features.amax(1).argsort(descending=True)[:ABLATED].tolist()
    control = bases.random_rows(dictionary, seed)
    changes: dict[str, list[Tensor]] = {"feature": [], "random": []}
    for row in strongest:
        if not features[row].any():
            continue
        ids = read.ids[row, : int(features[row].argmax()) + 1]
        for name, own in (("feature", dictionary), ("random", control)):
            changes[name].append(_change(model, own, feature, ids))
    ours, theirs = (torch.stack(several) for several in changes.values())
    parts = []
    for token in ours.mean(0).argsort()[:top].tolist():
        rise, other = interval(ours[:, token]), theirs[:, token].mean().item()
        kind = bool(re.fullmatch(pattern, model.token(token)))
        parts.append(
            Part(
                *(case, "output", model.token(token), rise.mean, rise.low, rise.high),
                share=float(kind),
                n=rise.n,
                text=f"random direction of the same norm {other:.3g}",
            )
        )
    return parts


def _change(model: Model, dictionary: Dictionary, feature: int, ids: Tensor) -> Tensor:
    """Edited minus clean log-probabilities [V] after the last token, the feature ablated there.

    Not of logits: a constant added to all of them changes nothing that the model says.
    """
    clean = run_clean(model, ids, model.site(model.site_of(dictionary)), every=False)
    delta = read_changes(clean, dictionary, [Ablate(feature, positions="last")]).delta(
        [(0,)], clean.x.dtype
    )
    with torch.inference_mode():
        edited = clean.resume(delta).logits[0, -1]
        return edited.double().log_softmax(-1) - clean.logits[-1].double().log_softmax(-1)
