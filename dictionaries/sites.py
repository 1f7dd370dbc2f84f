"""Names of sites in files <-> our hookpoints, such as `resid_post.20`.

TransformerLens names a site (`blocks.20.hook_resid_post`), others name a module and a side of it
(the output of `model.layers.20`).

A name that is not known here stays as the file has it: the dictionary still loads, and applying it
to a model says that the site is unknown, instead of silently taking a neighbouring one.
"""

from __future__ import annotations

import re
from typing import Literal

Side = Literal["input", "output"]

TRANSFORMER_LENS = {
    "hook_resid_pre": "resid_pre",
    "hook_resid_mid": "resid_mid",
    "hook_resid_post": "resid_post",
    "hook_attn_out": "attn_out",
    "hook_mlp_out": "mlp_out",
    "attn.hook_z": "attn_z",
    "mlp.hook_post": "mlp_hidden",
    "mlp.hook_in": "mlp_in",
}
TO_TRANSFORMER_LENS = {ours: theirs for theirs, ours in TRANSFORMER_LENS.items()}
_MODULES: dict[tuple[str, Side], str] = {
    ("", "input"): "resid_pre",
    ("", "output"): "resid_post",
    ("mlp", "input"): "mlp_in",
    ("mlp", "output"): "mlp_out",
    ("pre_feedforward_layernorm", "input"): "resid_mid",
    ("pre_feedforward_layernorm", "output"): "mlp_in",
    ("post_feedforward_layernorm", "output"): "mlp_out",
    **{(name, "output"): "attn_out" for name in ("attn", "self_attn", "attention")},
    **{
        (name, "input"): "attn_z" for name in ("self_attn.o_proj", "attn.c_proj", "attention.dense")
    },
    **{
        (name, "input"): "mlp_hidden"
        for name in ("mlp.down_proj", "mlp.c_proj", "mlp.dense_4h_to_h")
    },
}
_BLOCK = re.compile(r"(?:[a-z_]+\.)*(?:layers|h)\.(\d+)(?:\.(.+))?")
_SANDWICHED = re.compile(r"gemma-?[234]|olmo-?[23]|flex-?olmo|exaone-?4")
"""Models that normalise what a sublayer writes: its own output isn't what the residual gets."""
_OF_RESIDUAL = ("resid_pre", "resid_mid", "resid_post", "attn_out", "mlp_out")


def from_transformer_lens(name: str | None) -> str | None:
    """`blocks.20.hook_resid_post` -> `resid_post.20`."""
    match = re.fullmatch(r"blocks\.(\d+)\.(.+)", name or "")
    if match and match[2] in TRANSFORMER_LENS:
        return f"{TRANSFORMER_LENS[match[2]]}.{match[1]}"
    return name


def to_transformer_lens(name: str | None) -> str | None:
    """`resid_post.20` -> `blocks.20.hook_resid_post`."""
    kind, _, layer = (name or "").rpartition(".")
    if kind in TO_TRANSFORMER_LENS:
        return f"blocks.{layer}.{TO_TRANSFORMER_LENS[kind]}"
    return name


def from_module(path: str | None, side: Side, model: str | None = None) -> str | None:
    """`model.layers.3.mlp` and a side -> `mlp_in.3` or `mlp_out.3`.

    Others stay as they are, with their side: `model.layers.3.mlp.gate_proj:output`.
    """
    if path is None:
        return None
    match = _BLOCK.fullmatch(path)
    kind = _MODULES.get((match[2] or "", side)) if match else None
    bare = match is not None and match[2] in ("mlp", "attn", "self_attn", "attention")
    if match is None or kind is None or (bare and side == "output" and is_sandwiched(model)):
        return f"{path}:{side}"
    return f"{kind}.{match[1]}"


def is_sandwiched(model: str | None) -> bool:
    """Whether a model of this name normalises what a sublayer gives before the residual gets it."""
    return bool(_SANDWICHED.search((model or "").lower()))


def from_named_module(named: str | None) -> str | None:
    """`model.layers.3.output`, a module and a side of it -> `resid_post.3`."""
    path, _, side = (named or "").rpartition(".")
    return from_module(path, "input" if side == "input" else "output") if named else None


def in_residual_space(name: str | None) -> bool:
    """Whether the site is the residual stream or something added to it."""
    return (name or "").rpartition(".")[0] in _OF_RESIDUAL
