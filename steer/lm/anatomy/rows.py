"""Whether a row of a batch is what it is alone: with other rows, and with padding before it."""

from __future__ import annotations

from collections.abc import Sequence
from inspect import signature
from typing import Any

import torch
from torch import Tensor, nn

from steer.lm.anatomy.calls import TOKENS

_TOLERANCES = {torch.float64: 1e-6, torch.float32: 1e-3}
_HALF = 0.05
_PADDING = 7


def rows_alone(module: nn.Module) -> tuple[bool, bool]:
    """Whether rows of one length, and whether left-padded rows, give what each gives alone.

    A model that can't read padding at all says no to the second.
    """
    row = TOKENS
    alone = _last_logits(module, [row], 0)
    together = _last_logits(module, [row, row], 0)
    batches = all(_same(each, alone[0]) for each in together)
    longer = (*TOKENS[:_PADDING], *TOKENS)
    try:
        padded = _last_logits(module, [row, longer], _PADDING)
    except (RuntimeError, ValueError, TypeError, IndexError):
        return batches, False
    return batches, batches and _same(padded[0], alone[0])


def _same(one: Tensor, other: Tensor) -> bool:
    limit = _TOLERANCES.get(one.dtype, _HALF) * other.abs().max().item()
    return (one - other).abs().max().item() <= limit


@torch.inference_mode()
def _last_logits(module: nn.Module, rows: Sequence[Sequence[int]], padding: int) -> Tensor:
    """Logits [b, V] of the last token; the first row has `padding` tokens before it."""
    config: Any = module.config
    text = config.get_text_config()
    size = getattr(text, "vocab_size", None) or max(TOKENS) + 1
    device = next((p.device for p in module.parameters() if p.device.type != "meta"), "cpu")
    longest = max(map(len, rows))
    ids = torch.zeros(len(rows), longest, dtype=torch.long)
    for number, row in enumerate(rows):
        ids[number, longest - len(row) :] = torch.tensor([token % size for token in row])
    mask = torch.ones_like(ids)
    mask[0, :padding] = 0
    known = signature(module.forward).parameters
    options: dict[str, Any] = {"use_cache": False} if "use_cache" in known else {}
    if "position_ids" in known and padding:
        options["position_ids"] = (mask.cumsum(-1) - 1).clamp(min=0).to(device)
    output = module(input_ids=ids.to(device), attention_mask=mask.to(device), **options)
    logits: Tensor = output.logits
    return logits[:, -1]
