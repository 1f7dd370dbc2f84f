"""A wrong site: the same kind in another block, to write there what was meant for here."""

from __future__ import annotations

from steer.lm.anatomy import Site
from steer.lm.hookpoints import Hookpoint
from steer.model import Model


def wrong_site(model: Model, site: Site) -> Site | None:
    """A third of the model earlier, else later, else next to it; None for a model of one block."""
    depth, own = model.anatomy.depth, site.hookpoint
    step = max(1, depth // 3)
    for layer in (own.layer - step, own.layer + step, own.layer - 1, own.layer + 1):
        if 0 <= layer < depth:
            other = model.site(Hookpoint(layer, own.kind))
            if other.width == site.width:
                return other
    return None
