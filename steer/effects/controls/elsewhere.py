"""A wrong site: the same kind in another block, to write there what was meant for here."""

from __future__ import annotations

from contextlib import suppress

from steer.errors import HookpointError
from steer.lm.anatomy import Site
from steer.lm.hookpoints import Hookpoint
from steer.model import Model


def wrong_site(model: Model, site: Site) -> Site | None:
    """A third of the model earlier, else later, else the nearest; None if no other block has one.

    Blocks of one model differ: some have attention, some a state space.
    """
    depth, own = model.anatomy.depth, site.hookpoint
    step = max(1, depth // 3)
    near = sorted(set(range(depth)) - {own.layer}, key=lambda layer: abs(layer - own.layer))
    for layer in (own.layer - step, own.layer + step, *near):
        if 0 <= layer < depth:
            with suppress(HookpointError):
                other = model.site(Hookpoint(layer, own.kind))
                if other.width == site.width:
                    return other
    return None
