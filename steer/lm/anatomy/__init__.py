"""Where a model has its sites, blocks and final norm: found by structure, checked by measure.

Names of modules say little (post-norm blocks, MLPs that add the residual themselves, multipliers),
so one pass over a few tokens shows which tensors really are what a site is called, and a second
one, in which each site is written, that writing there reaches the stream. More passes show whether
the stream is all that goes from block to block, and whether rows of a batch are as each is alone.
"""

from steer.lm.anatomy.calls import device_of
from steer.lm.anatomy.found import anatomy_of
from steer.lm.anatomy.structure import RESIDUAL, check_residual
from steer.lm.anatomy.values import Anatomy, BlockAnatomy, Place, Site, Skip

__all__ = [
    "RESIDUAL",
    "Anatomy",
    "BlockAnatomy",
    "Place",
    "Site",
    "Skip",
    "anatomy_of",
    "check_residual",
    "device_of",
]
