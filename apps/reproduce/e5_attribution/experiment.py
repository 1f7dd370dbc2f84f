"""E5: do cheap attributions predict what ablating a feature does?

Every active feature is ablated alone, exactly, and its effect compared within each prompt with

    atp                gradient of the metric × (0 − activation)
    ig                 the same with the mean gradient on the path to all features at 0
    direct             −activation × direct logit effect, at the last token: the path that no later
                       block touches; the final norm's scale is one factor a prompt and cancels in
                       correlations and in the ranking
    direct_everywhere  the same summed over all tokens, as if every token were the last
    activation         its largest activation alone, against the size of the effect
    shuffled           atp with features permuted: what chance gives
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from apps.reproduce.e5_attribution.table import ESTIMATES, MEASURES, Found, tabulate
from apps.reproduce.kept.results import rows_of_each
from apps.reproduce.result import Table
from apps.reproduce.settings import Settings
from apps.reproduce.shared import texts
from apps.studies import ioi_prompts
from dictionaries.dictionary import Dictionary
from steer.effects.attribution.attribution import attribution
from steer.effects.attribution.result import Attribution, compare
from steer.effects.defaults import TEXT
from steer.effects.metric import LogProbability, Metric, Reference, as_metrics
from steer.effects.passes.changes import clean_for, encode_clean
from steer.effects.sweep.ablation_sweep import ablation_sweep
from steer.lm.unembedding import direct_logits
from steer.maths.precision import exact

if TYPE_CHECKING:
    from steer.model import Model

REVISION = 2
"""Of what a row means: raise it, and interrupted runs start anew."""
SITES = {"resid_post.20": 1.0, "resid_post.10": 0.5}
"""Site -> share of the prompts: an ablation at block 10 costs twice that at block 20."""
FAST_SITES = {"resid_post.20": 1.0}


@dataclass(frozen=True)
class Case:
    """A prompt and what is measured on it."""

    kind: str
    prompt: str
    metric: Metric


def run(settings: Settings) -> Table:
    """Both shipped dictionaries on indirect objects and on natural text."""
    model = settings.load()
    count = settings.count(full=12, fast=2)
    given = ioi_prompts.pairs(model, count, settings.seed)
    cases = [Case("ioi", pair.prompt, pair.metric) for pair in given] + [
        Case("text", passage.text, LogProbability(passage.following))
        for passage in texts.passages(model, count, 16, settings.seed)
    ]
    asked = {
        f"{site} {number}": (site, number, case)
        for site, share in (FAST_SITES if settings.fast else SITES).items()
        for number, case in enumerate(cases)
        if number % count < max(2, round(share * count))
    }

    def find(item: tuple[str, int, Case]) -> list[Found]:
        site, number, case = item
        dictionary = model.dictionary(f"{settings.model}/{site}")
        return agreements(model, dictionary, case, number, settings.seed)

    made_of = {"revision": REVISION, "prompts": [case.prompt for case in cases]}
    compared = rows_of_each(settings, "attribution against ablation", made_of, asked, find, Found)
    return tabulate(compared, settings.seed)


def agreements(
    model: Model, dictionary: Dictionary, case: Case, number: int, seed: int
) -> list[Found]:
    """All estimates against exact ablation on one prompt; none if fewer than ten features act."""
    sweep = ablation_sweep(model, [case.prompt], dictionary, metric=case.metric)
    if len(sweep) < 10:
        return []
    estimated = {
        method: attribution(
            model, [case.prompt], dictionary, case.metric, method=method, error="keep"
        )
        for method in ("atp", "ig")
    }
    estimated |= _direct(model, dictionary, case, estimated["atp"])
    estimated["shuffled"] = _shuffled(estimated["atp"], sweep.features, seed + number)
    rows = []
    for name in ESTIMATES:
        agreement = compare(estimated.get(name, name), sweep)
        rows.append(
            Found(
                dictionary=dictionary.name,
                kind=case.kind,
                prompt=number,
                estimate=name,
                features=len(sweep),
                **{measure: getattr(agreement, measure).mean for measure in MEASURES},
            )
        )
    return rows


def _direct(
    model: Model, dictionary: Dictionary, case: Case, like: Attribution
) -> dict[str, Attribution]:
    """−activation × direct logit effect on the metric: at the last token, and at every token."""
    (metric,) = as_metrics(model, case.metric, 1)
    ids, _ = model.tokenize([case.prompt])
    clean = clean_for(model, ids[0], dictionary, every=metric.every)
    features = encode_clean(clean, dictionary) * clean.touched(TEXT).unsqueeze(-1)
    active = (features != 0).any(0).nonzero().flatten()
    slope = _slope(clean.logits, clean.ids, metric)
    effect = direct_logits(model, dictionary.W_dec[active]) @ slope
    values = torch.zeros_like(features)
    values[:, active] = -features[:, active] * effect
    last = torch.zeros_like(values)
    last[-1] = values[-1]
    return {
        "direct": replace(like, values=(last,), method="direct"),
        "direct_everywhere": replace(like, values=(values,), method="direct_everywhere"),
    }


def _slope(logits: Tensor, ids: Tensor, metric: Metric) -> Tensor:
    """Gradient [V] of the metric with respect to the last token's logits."""
    reference = Reference.of(logits, ids, len(ids) - 1, metric.every)
    point = exact(logits[-1:]).clone().requires_grad_()
    with torch.enable_grad():
        metric(point.unsqueeze(0), reference).sum().backward()
    assert point.grad is not None
    return point.grad[-1]


def _shuffled(like: Attribution, features: Sequence[int], seed: int) -> Attribution:
    """The same numbers at other features of the same prompt."""
    (value,) = like.values
    order = torch.randperm(len(features), generator=torch.Generator().manual_seed(seed))
    index = torch.tensor(features, dtype=torch.long)
    mixed = value.clone()
    mixed[:, index] = value[:, index[order]]
    return replace(like, values=(mixed,), method="shuffled")
