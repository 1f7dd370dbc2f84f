"""Where a model has its sites, blocks and final norm, and how wide and deep it is.

Where a hookpoint is found differs between families, and it is resolved from the structure of the
block itself, so that a new model needs no entry in a table.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from torch import nn

from steer.errors import HookpointError, InterventionError, ModelError
from steer.lm.hookpoints import KINDS, Hookpoint, parse

_STACKS = ("model.layers", "transformer.h", "gpt_neox.layers", "model.language_model.layers")
_FINAL_NORMS = (
    "model.norm",
    "transformer.ln_f",
    "gpt_neox.final_layer_norm",
    "model.language_model.norm",
)

RESIDUAL = ("resid_pre", "attn_out", "resid_mid", "mlp_out", "resid_post")
"""Kinds of sites whose edits are added to the residual stream as they are."""


@dataclass(frozen=True)
class Site:
    """A hookpoint found in a model: a module path, and which side of it to read and write."""

    hookpoint: Hookpoint
    path: str
    side: Literal["input", "output"]


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


def depth(model: nn.Module) -> int:
    """How many blocks the model has."""
    blocks: Any = model.get_submodule(stack_path(model))
    return len(blocks)


def last_site(model: nn.Module) -> Site:
    """Where the residual stream leaves the last block, which is what the final norm reads."""
    return locate(model, Hookpoint(depth(model) - 1, "resid_post"))


def width_of(model: nn.Module, site: Site) -> int:
    """d of a site."""
    module: Any = model.get_submodule(site.path)
    config: Any = model.config
    if site.hookpoint.kind not in ("attn_z", "mlp_hidden"):
        return config.get_text_config().hidden_size
    transposed = type(module).__name__ == "Conv1D"
    return module.weight.shape[0] if transposed else module.weight.shape[1]


def final_norm(model: nn.Module) -> nn.Module:
    """The norm before the unembedding. Raises `ModelError` for a model without a known one."""
    for path in _FINAL_NORMS:
        if (norm := _module(model, path)) is not None:
            return norm
    raise ModelError(
        f"{type(model).__name__} has no final norm at any of {', '.join(_FINAL_NORMS)}"
    )


def check_residual(site: Site) -> None:
    """Raise `InterventionError` for a site that is not added to the residual stream as it is."""
    if site.hookpoint.kind not in RESIDUAL:
        raise InterventionError(
            f"{site.hookpoint} is not added to the residual stream as it is, so an edit there has "
            f"no direct path of its own; allowed: {', '.join(RESIDUAL)}"
        )


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
