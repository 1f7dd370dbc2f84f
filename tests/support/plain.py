"""The edit as a plain PyTorch hook, written from its formula: it shares no code with `steer`.

    f = encode(x);  f' = the edit of f at touched tokens;  x' = x + (f' - f) W_dec

Paths are those of the modelling files of transformers, a table a family.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from dictionaries.dictionary import Dictionary

Touches = Callable[[int, int], bool]
"""(absolute position, length of the prompt) -> whether the edit touches it."""


def everywhere(position: int, prompt: int) -> bool:
    return True


def prompt_only(position: int, prompt: int) -> bool:
    return position < prompt


def generated_only(position: int, prompt: int) -> bool:
    return position >= prompt - 1


def only_at(wanted: int) -> Touches:
    return lambda position, prompt: position == wanted


_LLAMA = {
    "resid_pre": ("", "input"),
    "resid_post": ("", "output"),
    "resid_mid": ("post_attention_layernorm", "input"),
    "attn_out": ("self_attn", "output"),
    "mlp_out": ("mlp", "output"),
    "attn_z": ("self_attn.o_proj", "input"),
    "mlp_hidden": ("mlp.down_proj", "input"),
    "mlp_in": ("post_attention_layernorm", "output"),
}
_GEMMA = _LLAMA | {
    "resid_mid": ("pre_feedforward_layernorm", "input"),
    "attn_out": ("post_attention_layernorm", "output"),
    "mlp_out": ("post_feedforward_layernorm", "output"),
    "mlp_in": ("pre_feedforward_layernorm", "output"),
}
_NEOX = {
    "resid_pre": ("", "input"),
    "resid_post": ("", "output"),
    "attn_out": ("attention", "output"),
    "mlp_out": ("mlp", "output"),
    "attn_z": ("attention.dense", "input"),
    "mlp_hidden": ("mlp.dense_4h_to_h", "input"),
    "mlp_in": ("post_attention_layernorm", "output"),
}
SITES: dict[str, dict[str, tuple[str, str]]] = {
    "gpt2": {
        "resid_pre": ("", "input"),
        "resid_post": ("", "output"),
        "resid_mid": ("ln_2", "input"),
        "attn_out": ("attn", "output"),
        "mlp_out": ("mlp", "output"),
        "attn_z": ("attn.c_proj", "input"),
        "mlp_hidden": ("mlp.c_proj", "input"),
        "mlp_in": ("ln_2", "output"),
    },
    "llama": _LLAMA,
    "qwen2": _LLAMA,
    "qwen3": _LLAMA,
    "gemma2": _GEMMA,
    "gemma3": _GEMMA,
    "gpt_neox": _NEOX,
    "gpt_neox_sequential": _NEOX | {"resid_mid": ("post_attention_layernorm", "input")},
}
STACKS = {"gpt2": "transformer.h", "gpt_neox": "gpt_neox.layers"}
STACKS["gpt_neox_sequential"] = STACKS["gpt_neox"]


def path_of(family: str, hookpoint: str) -> tuple[str, str]:
    """Module path and side of a hookpoint."""
    kind, layer = hookpoint.split(".")
    inner, side = SITES[family][kind]
    block = f"{STACKS.get(family, 'model.layers')}.{layer}"
    return f"{block}.{inner}".rstrip("."), side


@dataclass(frozen=True)
class PlainEdit:
    """One feature edit: its kind, its number, and the tokens it touches.

    by_row: the tokens of each row of the batch instead, if they differ.
    """

    feature: int
    kind: str
    number: float = 0.0
    touches: Touches = everywhere
    by_row: tuple[Touches, ...] = ()

    def apply(self, f: Tensor) -> Tensor:
        match self.kind:
            case "ablate":
                return torch.zeros_like(f)
            case "clamp":
                return torch.full_like(f, self.number)
            case "scale":
                return self.number * f
            case "add":
                return f + self.number
            case "floor":
                return torch.where(f < self.number, self.number, f)
            case "cap":
                return torch.where(f > self.number, self.number, f)
        raise ValueError(self.kind)


@dataclass(frozen=True, eq=False)
class PlainSite:
    """Edits of one dictionary at one module. drop: replace x by the edited reconstruction."""

    path: str
    side: str
    dictionary: Dictionary
    edits: Sequence[PlainEdit]
    drop: bool = False

    def edited(self, x: Tensor, mask: Tensor, prompt: int) -> Tensor:
        """x [b, s, d] of left-padded rows with mask [b, s]."""
        f, norm = self.dictionary.encode(x)
        wanted = _wanted(f, self.edits, mask, prompt)
        if self.drop:
            replaced = self.dictionary.decode(wanted, norm).to(x.dtype)
            return torch.where(mask.bool().unsqueeze(-1), replaced, x)
        moved = (wanted - f) @ self.dictionary.W_dec
        return x + (moved if norm.scale is None else moved * norm.scale).to(x.dtype)


@dataclass(frozen=True, eq=False)
class PlainTranscoder:
    """Edits of a transcoder, which reads one module and writes another; drop: as for a site.

    read, write: module path and side.
    """

    read: tuple[str, str]
    write: tuple[str, str]
    dictionary: Dictionary
    edits: Sequence[PlainEdit]
    drop: bool = False

    def edited(self, x: Tensor, y: Tensor, mask: Tensor, prompt: int) -> Tensor:
        """y [b, s, d_out] given x [b, s, d_in], in y's own units, whatever x was divided by."""
        f, _ = self.dictionary.encode(x)
        wanted = _wanted(f, self.edits, mask, prompt)
        if self.drop:
            replaced = wanted @ self.dictionary.W_dec + self.dictionary.b_dec
            if self.dictionary.W_skip is not None:
                replaced = replaced + x.to(f.dtype) @ self.dictionary.W_skip
            return torch.where(mask.bool().unsqueeze(-1), replaced.to(y.dtype), y)
        return y + ((wanted - f) @ self.dictionary.W_dec).to(y.dtype)


def _wanted(f: Tensor, edits: Sequence[PlainEdit], mask: Tensor, prompt: int) -> Tensor:
    """f [b, s, width] after the edits."""
    wanted = f.clone()
    for edit in edits:
        touched = _touched(mask, edit.by_row or (edit.touches,) * len(mask), prompt)
        new = edit.apply(f[..., edit.feature])
        wanted[..., edit.feature] = torch.where(touched, new, wanted[..., edit.feature])
    return wanted


Plain = PlainSite | PlainTranscoder


def _touched(mask: Tensor, by_row: Sequence[Touches], prompt: int) -> Tensor:
    rows = []
    for row, touches in zip(mask.tolist(), by_row, strict=True):
        pads = row.count(0)
        length = prompt or len(row) - pads
        rows.append([i >= pads and touches(i - pads, length) for i in range(len(row))])
    return torch.tensor(rows)


@contextmanager
def hooked(
    model: nn.Module, sites: Sequence[Plain], mask: Tensor, prompt: int = 0
) -> Iterator[nn.Module]:
    """The model under the edits; prompt: its length, if the rows hold generated tokens too."""

    def hook(place: tuple[str, str], change: Callable[[Tensor], Tensor]) -> Any:
        def before(module: nn.Module, inputs: tuple[Any, ...]) -> None:
            inputs[0].copy_(change(inputs[0]))

        def after(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> Any:
            if isinstance(output, tuple):
                return (change(output[0]), *output[1:])
            return change(output)

        path, side = place
        module = model.get_submodule(path)
        if side == "input":  # in place: the residual branch reads the same tensor
            return module.register_forward_pre_hook(before)
        return module.register_forward_hook(after)

    def hooks(site: Plain) -> list[Any]:
        if isinstance(site, PlainSite):
            return [hook((site.path, site.side), lambda x: site.edited(x, mask, prompt))]
        seen: list[Tensor] = []

        def reading(x: Tensor) -> Tensor:
            seen.append(x.clone())
            return x

        return [
            hook(site.read, reading),
            hook(site.write, lambda y: site.edited(seen[-1], y, mask, prompt)),
        ]

    handles = [handle for site in sites for handle in hooks(site)]
    try:
        yield model
    finally:
        for handle in handles:
            handle.remove()


@torch.no_grad()
def logits(
    model: Any,
    ids: Tensor,
    mask: Tensor | None = None,
    sites: Sequence[Plain] = (),
    prompt: int = 0,
) -> Tensor:
    """One uncached forward pass of left-padded rows under the edits, [b, s, V]."""
    mask = torch.ones_like(ids) if mask is None else mask
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    inputs = {"input_ids": ids, "attention_mask": mask, "position_ids": positions}
    with hooked(model, sites, mask, prompt):
        found: Tensor = model(**inputs, use_cache=False).logits
    return found


@torch.no_grad()
def greedy(
    model: Any, ids: Tensor, new_tokens: int, sites: Sequence[Plain] = (), eos: int = -1
) -> list[int]:
    """New tokens of one prompt [1, s]; the whole text is read again for each, without a cache."""
    prompt = ids.shape[1]
    for _ in range(new_tokens):
        mask = torch.ones_like(ids)
        with hooked(model, sites, mask, prompt):
            last = model(input_ids=ids, use_cache=False).logits[:, -1]
        ids = torch.cat([ids, last.argmax(-1, keepdim=True)], dim=1)
        if int(ids[0, -1]) == eos:
            break
    return ids[0, prompt:].tolist()


@contextmanager
def recorded(module: nn.Module, side: str = "output") -> Iterator[list[Tensor]]:
    """What a module read or gave, call by call."""
    seen: list[Tensor] = []

    def before(module: nn.Module, inputs: tuple[Any, ...]) -> None:
        seen.append(inputs[0].clone())

    def after(module: nn.Module, inputs: Any, output: Any) -> None:
        seen.append((output[0] if isinstance(output, tuple) else output).clone())

    if side == "input":
        handle = module.register_forward_pre_hook(before)
    else:
        handle = module.register_forward_hook(after)
    try:
        yield seen
    finally:
        handle.remove()


def block(module: nn.Module, layer: int) -> nn.Module:
    """A block of the first list of modules, which is the stack in every family."""
    stack: Any = next(m for m in module.modules() if isinstance(m, nn.ModuleList))
    found: nn.Module = stack[layer]
    return found


def final_norm(module: Any) -> nn.Module:
    """The norm after the last block."""
    norms: list[nn.Module] = [m for m in module.base_model.children() if "Norm" in type(m).__name__]
    return norms[-1]
