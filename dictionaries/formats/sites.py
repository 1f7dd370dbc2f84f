"""Names of sites in files <-> our hookpoints, such as `resid_post.20`.

A name that is not known here stays as the file has it: the dictionary still loads, and applying it
to a model says that the site is unknown, instead of silently taking a neighbouring one.
"""

from __future__ import annotations

import re

_TRANSFORMER_LENS = {
    "hook_resid_pre": "resid_pre",
    "hook_resid_mid": "resid_mid",
    "hook_resid_post": "resid_post",
    "hook_attn_out": "attn_out",
    "hook_mlp_out": "mlp_out",
    "attn.hook_z": "attn_z",
    "mlp.hook_post": "mlp_hidden",
    "mlp.hook_in": "mlp_in",
}
_TO_TRANSFORMER_LENS = {ours: theirs for theirs, ours in _TRANSFORMER_LENS.items()}
_OF_RESIDUAL = ("resid_pre", "resid_mid", "resid_post", "attn_out", "mlp_out")


def from_transformer_lens(name: str | None) -> str | None:
    """`blocks.20.hook_resid_post` -> `resid_post.20`."""
    match = re.fullmatch(r"blocks\.(\d+)\.(.+)", name or "")
    if match and match[2] in _TRANSFORMER_LENS:
        return f"{_TRANSFORMER_LENS[match[2]]}.{match[1]}"
    return name


def to_transformer_lens(name: str | None) -> str | None:
    """`resid_post.20` -> `blocks.20.hook_resid_post`."""
    kind, _, layer = (name or "").rpartition(".")
    if kind in _TO_TRANSFORMER_LENS:
        return f"blocks.{layer}.{_TO_TRANSFORMER_LENS[kind]}"
    return name


def in_residual_space(name: str | None) -> bool:
    """Whether the site is the residual stream or something added to it."""
    return (name or "").rpartition(".")[0] in _OF_RESIDUAL
