"""What a model's tree of modules says: where its list of blocks is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import nn

from steer.errors import InterventionError, ModelError

if TYPE_CHECKING:
    from steer.lm.anatomy.values import Site

RESIDUAL = ("resid_pre", "attn_out", "resid_mid", "mlp_out", "resid_post")
"""Kinds of sites whose edits are added to the residual stream as they are."""


def stack_paths(model: nn.Module) -> list[str]:
    """Paths of what may be the list of blocks, that with most weights first.

    A list within a block, of experts, is part of a larger one. Raises `ModelError` if there is
    none.
    """
    config: Any = model.config
    depth = getattr(config.get_text_config(), "num_hidden_layers", None)
    lists = {
        path: sum(weight.numel() for weight in module.parameters())
        for path, module in model.named_modules()
        if isinstance(module, nn.ModuleList) and len(module) and module[0] is not None
    }
    outer = {path: size for path, size in lists.items() if not _inside(path, lists)}
    sized = {path: size for path, size in outer.items() if len(_list(model, path)) == depth}
    if not (sized or outer):
        raise ModelError(
            f"no list of blocks was found in {type(model).__name__}: "
            "only decoder-only models that are a stack of blocks can be edited"
        )
    candidates = sized or outer
    return sorted(candidates, key=lambda path: -candidates[path])


def check_residual(site: Site) -> None:
    """Raise `InterventionError` for a site that is not added to the residual stream as it is."""
    if site.hookpoint.kind not in RESIDUAL:
        raise InterventionError(
            f"{site.hookpoint} is not added to the residual stream as it is, so an edit there has "
            f"no direct path of its own; allowed: {', '.join(RESIDUAL)}"
        )


def _list(model: nn.Module, path: str) -> nn.ModuleList:
    module = model.get_submodule(path)
    assert isinstance(module, nn.ModuleList)
    return module


def _inside(path: str, lists: dict[str, int]) -> bool:
    return any(path.startswith(f"{other}.") for other in lists)


def norms_outside(model: nn.Module, stack: str) -> dict[str, nn.Module]:
    """By path: modules outside the blocks that may be norms: no parts, no matrix, no dropout."""
    leaves = {
        path: module
        for path, module in model.named_modules()
        if not f"{path}.".startswith(f"{stack}.") and not list(module.children())
    }
    return {path: module for path, module in leaves.items() if _may_be_norm(module)}


def _may_be_norm(module: nn.Module) -> bool:
    passes = isinstance(module, nn.Dropout | nn.Identity)
    return not passes and all(weight.dim() == 1 for weight in module.parameters())
