"""Names of sites, such as `resid_post.20`, and where they are in a model.

A hookpoint is a kind and a block number. Where it is found differs between families, and it is
resolved from the structure of the block itself, so that a new model needs no entry in a table:

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
from typing import Any, Literal

from torch import nn

from dictionaries.sites import TO_TRANSFORMER_LENS, TRANSFORMER_LENS
from steer.errors import HookpointError, ModelError

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

_STACKS = ("model.layers", "transformer.h", "gpt_neox.layers", "model.language_model.layers")


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


@dataclass(frozen=True)
class Site:
    """A hookpoint found in a model: a module path, and which side of it to read and write."""

    hookpoint: Hookpoint
    path: str
    side: Literal["input", "output"]


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


def stack_path(model: nn.Module) -> str:
    """Path of the list of blocks. Raises `ModelError` for a model that has none."""
    for path in _STACKS:
        if _module(model, path) is not None:
            return path
    depth = getattr(model.config, "num_hidden_layers", None)
    for path, module in model.named_modules():
        if isinstance(module, nn.ModuleList) and len(module) == depth:
            return path
    raise ModelError(
        f"no list of {depth} blocks was found in {type(model).__name__}: "
        "only decoder-only transformers can be edited"
    )


def locate(model: nn.Module, name: str | Hookpoint) -> Site:
    """Where a hookpoint is in this model.

    Raises `HookpointError` for a layer out of range or a site that this family does not have.
    """
    hookpoint = parse(name) if isinstance(name, str) else name
    stack = stack_path(model)
    blocks: Any = _module(model, stack)
    if not 0 <= hookpoint.layer < len(blocks):
        raise HookpointError(f"hookpoint {hookpoint}: the model has blocks 0 to {len(blocks) - 1}")
    found = _within_block(blocks[hookpoint.layer], hookpoint.kind)
    if found is None:
        have = [kind for kind in KINDS if _within_block(blocks[hookpoint.layer], kind)]
        raise HookpointError(
            f"{type(model).__name__} has no {hookpoint.kind}; it has: {', '.join(have)}"
        )
    path, side = found
    return Site(hookpoint, f"{stack}.{hookpoint.layer}{path and '.' + path}", side)


def _within_block(block: nn.Module, kind: str) -> tuple[str, Literal["input", "output"]] | None:
    """Path within the block, and side. Facts: transformers 5.23's modelling files."""
    attention = _first(block, "self_attn", "attn", "attention")
    sandwich = "post_feedforward_layernorm" if _has(block, "pre_feedforward_layernorm") else None
    match kind:
        case "resid_pre":
            return "", "input"
        case "resid_post":
            return "", "output"
        case "resid_mid":
            if getattr(block, "use_parallel_residual", False):
                return None
            norm = _mlp_norm(block)
            return (norm, "input") if norm else None
        case "attn_out":
            path = "post_attention_layernorm" if sandwich else attention
            return (path, "output") if path else None
        case "mlp_out":
            path = sandwich or _first(block, "mlp")
            return (path, "output") if path else None
        case "mlp_in":
            norm = _mlp_norm(block)
            return (norm, "output") if norm else None
        case "attn_z":
            path = attention and _first(
                block, *(f"{attention}.{n}" for n in ("o_proj", "c_proj", "dense", "out_proj"))
            )
            return (path, "input") if path else None
        case _:
            path = _first(block, "mlp.down_proj", "mlp.c_proj", "mlp.dense_4h_to_h", "mlp.fc2")
            return (path, "input") if path else None


def _mlp_norm(block: nn.Module) -> str | None:
    return _first(block, "pre_feedforward_layernorm", "ln_2", "post_attention_layernorm")


def _module(model: nn.Module, path: str) -> nn.Module | None:
    try:
        return model.get_submodule(path)
    except AttributeError:
        return None


def _has(block: nn.Module, path: str) -> bool:
    return _module(block, path) is not None


def _first(block: nn.Module, *paths: str) -> str | None:
    return next((path for path in paths if _has(block, path)), None)
