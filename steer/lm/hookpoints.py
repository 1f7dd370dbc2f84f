"""Names of sites, such as `resid_post.20`; where they are in a model: `steer.lm.anatomy`.

A hookpoint is a kind and a block number:

| kind       | what it is                                                             |
|------------|------------------------------------------------------------------------|
| resid_pre  | residual stream into the block                                         |
| resid_mid  | residual stream between attention and MLP (none if they are parallel)  |
| resid_post | residual stream out of the block                                       |
| attn_out   | what attention adds to the residual stream                             |
| mlp_out    | what the MLP adds to the residual stream                               |
| attn_z     | attention heads, concatenated, before the output projection            |
| mlp_hidden | MLP activations before the down projection                             |
| mlp_in     | what the MLP reads (after its norm)                                    |
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass

from dictionaries.sites import TO_TRANSFORMER_LENS, TRANSFORMER_LENS
from steer.errors import HookpointError

KINDS = (
    "resid_pre",
    "attn_z",
    "attn_out",
    "resid_mid",
    "mlp_in",
    "mlp_hidden",
    "mlp_out",
    "resid_post",
)
"""In the order in which a forward pass visits them within a block."""


@dataclass(frozen=True, order=True)
class Hookpoint:
    """A kind of site in one block."""

    layer: int
    kind: str

    def __str__(self) -> str:
        return f"{self.kind}.{self.layer}"

    @property
    def order(self) -> tuple[int, int]:
        """Sorts hookpoints in the order of the forward pass."""
        return self.layer, KINDS.index(self.kind)


def parse(name: str) -> Hookpoint:
    """`resid_post.20` or TransformerLens's `blocks.20.hook_resid_post` -> Hookpoint.

    Raises `HookpointError` with the nearest known kinds.
    """
    if match := re.fullmatch(r"blocks\.(\d+)\.(.+)", name):
        layer, kind = int(match[1]), TRANSFORMER_LENS.get(match[2], match[2])
    elif match := re.fullmatch(r"([a-z_]+)\.(\d+)", name):
        layer, kind = int(match[2]), match[1]
    else:
        raise HookpointError(
            f"hookpoint {name!r} is not of the form kind.layer, such as resid_post.20; "
            f"kinds: {', '.join(KINDS)}"
        )
    if kind not in KINDS:
        near = difflib.get_close_matches(kind, KINDS, n=2)
        hint = f"; did you mean {' or '.join(near)}?" if near else ""
        raise HookpointError(f"hookpoint kind {kind!r} is unknown{hint} Kinds: {', '.join(KINDS)}")
    return Hookpoint(layer, kind)


def is_hookpoint(name: str) -> bool:
    """Whether the text has the form of a hookpoint; its kind and layer may still be wrong."""
    return bool(re.fullmatch(r"blocks\.\d+\..+|[a-z_]+\.\d+", name))


def transformer_lens_name(hookpoint: Hookpoint) -> str:
    """The name that TransformerLens and SAELens give the site."""
    return f"blocks.{hookpoint.layer}.{TO_TRANSFORMER_LENS[hookpoint.kind]}"
