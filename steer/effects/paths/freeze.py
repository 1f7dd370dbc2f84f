"""Passes in which parts of the model do in edited runs what they did in the clean one.

    patterns    every head attends as in the clean run: queries and keys are the clean run's, and
                values may change
    attention   what attention adds to the residual stream, in every block behind the edit
    mlp         what MLPs add to it, in every block behind the edit
    norm        the scale of the final norm

With attention, MLPs and norm frozen, only the residual stream carries the edit: its direct effect,
which is linear (`steer.effects.paths.direct`).
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor

from steer.effects.passes.clean import Clean
from steer.lm.anatomy import Site
from steer.lm.hookpoints import Hookpoint
from steer.lm.norm import Norm
from steer.lm.passes import frozen
from steer.lm.unembedding import norm_of
from steer.model import Model


@dataclass(frozen=True)
class Freeze:
    """Which parts are frozen at the clean run."""

    patterns: bool = False
    attention: bool = False
    mlp: bool = False
    norm: bool = False


TOTAL = Freeze()
DIRECT = Freeze(attention=True, mlp=True, norm=True)
PATHS: Mapping[str, Freeze] = {
    "total": TOTAL,
    "patterns frozen": Freeze(patterns=True),
    "attention frozen": Freeze(attention=True),
    "MLPs frozen": Freeze(mlp=True),
    "norm frozen": Freeze(norm=True),
    "direct": DIRECT,
}


def frozen_logits(clean: Clean, delta: Tensor, site: Site, freeze: Freeze) -> Tensor:
    """Last logits [1 + b, V], of the clean run and with delta [b, s, d] added at the site while
    parts are frozen."""
    model = clean.model
    rows = torch.cat([torch.zeros_like(delta[:1]), delta])
    start = clean.start(rows)
    norm = (model.anatomy.final_norm or "", _slope(norm_of(model))) if freeze.norm else None
    attends = clean.first < model.depth
    patterns = frozen.frozen_patterns(model.module) if freeze.patterns and attends else None
    with model.lock, patterns or nullcontext():
        logits = frozen.held(model.nn, start, held_sites(model, site, freeze), norm)
    clean.check(rows, logits)
    return logits[:, -1]


def held_sites(model: Model, site: Site, freeze: Freeze) -> list[Site]:
    """Where attention and MLPs behind the site write, in the order of the forward pass."""
    kinds = [("attn_out", freeze.attention), ("mlp_out", freeze.mlp)]
    points = [
        Hookpoint(layer, kind)
        for layer in range(site.hookpoint.layer, model.depth)
        for kind, frozen in kinds
        if frozen
    ]
    return [model.site(p) for p in points if p.order > site.hookpoint.order]


def _slope(norm: Norm) -> frozen.Slope:
    def slope(change: Tensor, clean: Tensor) -> Tensor:
        return norm.slope(change, norm.scale(clean)).to(change.dtype)

    return slope
