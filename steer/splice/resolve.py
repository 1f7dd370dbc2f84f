"""What lowering asks of the model: sites, activations of other texts, directions made of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from dictionaries.dictionary import Dictionary
from steer.edits import Intervention
from steer.edits.directions import DecoderRow, Difference, Direction, Random, Vector
from steer.errors import InterventionError
from steer.lm.hookpoints import Site
from steer.maths.precision import exact
from steer.splice.lower import Sources, lower
from steer.splice.plan import SitePlan

if TYPE_CHECKING:
    from steer.model import Model


def plan_of(
    model: Model,
    intervention: Intervention,
    given: Mapping[str, Dictionary],
    rows: slice,
    clean: slice | None,
) -> SitePlan:
    """One intervention lowered for a model; see `Model.plans`."""
    dictionary = model.dictionary_of(intervention, given)
    if dictionary is not None:
        site = model.site(model.site_of(dictionary))
        out = model.site(dictionary.config.hookpoint_out or str(site.hookpoint))
        beyond = () if dictionary.later is None else dictionary.later.hookpoints
    else:
        site, beyond = model.site(intervention.dictionary), ()
        out = site
    sources = Sources(
        activations=lambda prompts: activations(model, prompts, str(site.hookpoint)),
        direction=lambda source: resolve_direction(model, source, out, given),
        token_id=model.token_id,
    )
    return lower(
        intervention,
        dictionary,
        site,
        out,
        sources,
        rows=rows,
        clean=clean,
        later=[model.site(hookpoint) for hookpoint in beyond],
        device=model.device,
        dtype=model.module.dtype,
    )


def activations(model: Model, prompts: Sequence[str], hookpoint: str) -> list[Tensor]:
    """x [s, d] of each prompt at a hookpoint, padding left out."""
    ids, mask = model.tokenize(list(prompts))
    found = exact(model.collect(ids, mask, [hookpoint])[hookpoint])
    return [row[real.bool()] for row, real in zip(found, mask, strict=True)]


def resolve_direction(
    model: Model, source: Direction, site: Site, given: Mapping[str, Dictionary]
) -> Tensor:
    """The vector [d] of a direction's source, at a site.

    Raises `InterventionError` for a source that gives no direction, such as equal means.
    """
    match source:
        case Vector(values):
            vector = torch.tensor(values, dtype=torch.float64)
        case DecoderRow(name, feature):
            dictionary = given[name] if name in given else model.dictionary(name)
            dictionary.check_features([feature])
            vector = dictionary.W_dec[feature]
        case Difference(positive, negative):
            means = [
                torch.stack([x[-1] for x in activations(model, side, str(site.hookpoint))]).mean(0)
                for side in (positive, negative)
            ]
            vector = means[0] - means[1]
        case Random(seed):
            generator = torch.Generator().manual_seed(seed)
            vector = torch.randn(model.width(site), generator=generator)
        case _:
            raise InterventionError(f"{source!r} is no direction")
    if not vector.norm() > 0:
        raise InterventionError(f"{source!r} gives a direction of length 0")
    return vector
