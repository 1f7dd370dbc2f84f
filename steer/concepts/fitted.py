"""A direction under which the model writes the examples unasked, and the features that make it up.

A request about the word makes some tokens of the examples likelier than requests about other things
do; the model is to find those likely without being asked. So the loss of the examples' tokens, each
weighted by the square of what the request told of it, is lessened by gradient steps on a vector of
fixed length that is added at the site: a prompt distilled into a vector. What the dictionary holds
of the vector, a non-negative combination of features by matching pursuit, is the candidate.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from steer.concepts.answers import NOTHING, OTHERS, asked
from steer.lm.anatomy import Site
from steer.lm.continuations import Continuation, batches
from steer.lm.passes import resumed
from steer.lm.passes.resumed import Resume, Takes
from steer.maths.metrics import cross_entropy

if TYPE_CHECKING:
    from steer.model import Model

LENGTH = 0.3
"""Share of the residual's norm at which the vector is fitted; the dose is chosen afterwards."""
STEPS = 16
BATCH = 12
RATE = 0.1
"""Of Adam, in units of the unit vector's root mean square."""
TOKENS = 40
"""Most of a text that are read."""
OPENING = ".\n"
"""Stands before every text, so that its first word is written under the edit as well."""


@dataclass(frozen=True, eq=False)
class Told:
    """n texts behind `OPENING`, and what a request about the word tells of their tokens.

    ids [n, s]: padded at the end, which no earlier token sees.
    weights [n, s - 1]: of each token but the first, as the next one of those before it; 0 where
        the request tells nothing, in the opening and in the padding.
    """

    ids: Tensor
    weights: Tensor

    def only(self, rows: Tensor) -> Told:
        return Told(self.ids[rows], self.weights[rows])


def told(model: Model, word: str, texts: Sequence[str]) -> Told:
    """How much likelier each token is after a request about the word than after any other."""
    opening = tuple(model.tokenizer(OPENING).input_ids)
    own = [
        tuple(model.tokenizer(text, add_special_tokens=False).input_ids)[:TOKENS] for text in texts
    ]
    own = [ids for ids in own if ids]
    before = [opening, *(asked(model, about).ids for about in (NOTHING, *OTHERS[:2]))]
    unasked = torch.stack([_log_probabilities(model, other, own) for other in before]).amax(0)
    gained = (_log_probabilities(model, asked(model, word).ids, own) - unasked).clamp(min=0)
    rows = [list(opening + ids) for ids in own]
    length = max(map(len, rows))
    padded = [row + [row[-1]] * (length - len(row)) for row in rows]
    weights = torch.zeros(len(rows), length - 1)
    weights[:, len(opening) - 1 :] = gained[:, : length - len(opening)].float() ** 2
    return Told(torch.tensor(padded, device=model.device), weights)


def _log_probabilities(
    model: Model, before: Sequence[int], texts: Sequence[Sequence[int]]
) -> Tensor:
    """Of each text's tokens behind `before`, [n, longest]; 0 past a text's end."""
    values = torch.zeros(len(texts), max(map(len, texts)), dtype=torch.float64)
    continuations = [Continuation(tuple(before), tuple(ids)) for ids in texts]
    for places, ids, mask in batches(model, continuations):
        losses = cross_entropy(model.logits(ids, mask), ids)
        for place, row in zip(places, losses, strict=True):
            length = len(texts[place])
            values[place, :length] = -row[-length:].double().cpu()
    return values


def fit(
    model: Model, hookpoint: str, texts: Told, begin: Tensor, length: float, seed: int
) -> Tensor:
    """The fitted unit vector [d]. begin [d]: where the search starts; length: what is added.

    Where the request tells nothing of any token, the vector stays what it was.
    """
    unit = torch.nn.functional.normalize(begin.float(), dim=0)
    if not bool(texts.weights.any()):
        return unit
    site = model.site(hookpoint)
    x = model.collect(texts.ids, torch.ones_like(texts.ids), [hookpoint])[str(site.hookpoint)]
    live = unit.clone().requires_grad_()
    optimizer = torch.optim.Adam([live], lr=RATE / len(unit) ** 0.5)
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))
    for step in range(STEPS):
        rows = order.roll(-step * BATCH)[:BATCH]
        vector = torch.nn.functional.normalize(live.detach(), dim=0)
        slope = _slope(model, site, texts.only(rows), x[rows], length * vector)
        # What points along the vector would only change its length.
        live.grad = length * (slope - (slope @ vector) * vector) / live.detach().norm()
        optimizer.step()
    return torch.nn.functional.normalize(live.detach(), dim=0)


def _slope(model: Model, site: Site, texts: Told, x: Tensor, vector: Tensor) -> Tensor:
    """Gradient [d] of the weighted mean loss in what is added at every token but the first.

    x [n, s, d]: what stands at the site without it.
    """
    points = x.clone()
    points[:, 1:] += vector.to(x.device, x.dtype)
    weights = texts.weights / texts.weights.sum().clamp(min=1e-9)

    def measure(logits: Tensor) -> Tensor:
        losses = cross_entropy(logits, texts.ids.to(logits.device))
        return (losses * weights.to(losses)).sum(-1)

    skips = model.anatomy.resumes and site.hookpoint.kind == "resid_post"
    begin = Resume(
        ids=texts.ids,
        mask=torch.ones_like(texts.ids),
        skipped=model.anatomy.below(site.hookpoint.layer + 1) if skips else (),
        entry=points,
        inner=None if skips else site,
        takes=Takes.of(model.module),
    )
    with model.lock:
        _, slope = resumed.gradient(model.nn, begin, points, measure)
    return slope[:, 1:].float().sum((0, 1)).cpu()
