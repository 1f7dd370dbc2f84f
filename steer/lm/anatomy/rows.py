"""Whether a row of a batch is what it is alone: with other rows, and with padding before it.

Both as one pass and as text that is written from a cache, which is other code in many models.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from inspect import signature
from typing import Any

import torch
from torch import Tensor, nn

from steer.errors import ModelError
from steer.lm.anatomy.calls import TOKENS, device_of

_TOLERANCES = {torch.float64: 1e-6, torch.float32: 1e-3}
_HALF = 0.05
"""Of half precision, and of packed weights, whatever the dtype around them."""
_PADDING = 7
_NEW = 2
"""Tokens written: one of the pass over the prompt, and one of its cache."""
_FAULTS = (RuntimeError, ValueError, TypeError, IndexError, AttributeError, KeyError)
"""What a model that can't do a thing may raise, in its own words."""


def rows_alone(module: nn.Module) -> tuple[bool, bool]:
    """Whether rows of one length, and whether left-padded rows, give what each gives alone.

    The first is of rows that are written from a cache. A model that can't read padding at all says
    no to the second. Raises `ModelError` for a model whose rows hang together even in one pass.
    """
    alone = _last_logits(module, [TOKENS], 0)
    text = _written(module, [TOKENS], 0)
    tolerance = _tolerance(module, alone.dtype)

    def as_alone(other: Sequence[int], padding: int) -> tuple[bool, bool]:
        """Of a pass, and of what is written, beside another row."""
        both = _last_logits(module, [TOKENS, other], padding)
        if not _same(both[0], alone[0], tolerance):
            return False, False
        written = _written(module, [TOKENS, other], padding) if text else ()
        return True, not text or _text_alone(written, text, tolerance)

    with suppress(*_FAULTS):
        if all(as_alone((*TOKENS[:_PADDING], *TOKENS), _PADDING)):
            return True, True
    in_a_pass, in_a_text = as_alone(TOKENS[::-1], 0)
    if not in_a_pass:
        raise ModelError(
            f"a row of {type(module).__name__} in a batch is not what it is alone, as where "
            "activations are quantised by one scale of all rows: edits could not be told from "
            "their neighbours; load it without that"
        )
    return in_a_text, False


Steps = Sequence[tuple[Tensor, Tensor]]
"""Of each step logits [b, V], and the tokens [b] that came of them."""


def _text_alone(text: Steps, alone: Steps, tolerance: float) -> bool:
    """Whether the first row is what it is alone, up to where two tokens are as good."""
    for (logits, tokens), (own, token) in zip(text, alone, strict=False):
        if not _same(logits[0], own[0], tolerance):
            return False
        if tokens[0] != token[0]:
            return True
    return bool(text)


def _tolerance(module: nn.Module, dtype: torch.dtype) -> float:
    packed = any(not weight.is_floating_point() for weight in module.parameters())
    return _HALF if packed else _TOLERANCES.get(dtype, _HALF)


def _same(one: Tensor, other: Tensor, tolerance: float) -> bool:
    limit = tolerance * other.abs().max().item()
    return (one - other).abs().max().item() <= limit


@torch.inference_mode()
def _last_logits(module: nn.Module, rows: Sequence[Sequence[int]], padding: int) -> Tensor:
    """Logits [b, V] of the last token; the first row has `padding` tokens before it."""
    inputs = _inputs(module, rows, padding)
    mask = inputs["attention_mask"]
    known = signature(module.forward).parameters
    options: dict[str, Any] = {"use_cache": False} if "use_cache" in known else {}
    if "position_ids" in known and padding:
        options["position_ids"] = (mask.cumsum(-1) - 1).clamp(min=0)
    output = module(**inputs, **options)
    logits: Tensor = output.logits
    return logits[:, -1]


@torch.inference_mode()
def _written(module: Any, rows: Sequence[Sequence[int]], padding: int) -> Steps:
    """What the model writes with a cache; nothing if it can't."""
    try:
        with _plain_settings(module):
            output = module.generate(
                **_inputs(module, rows, padding),
                max_new_tokens=_NEW,
                min_new_tokens=_NEW,
                do_sample=False,
                output_logits=True,
                return_dict_in_generate=True,
            )
    except _FAULTS:
        return ()
    return list(zip(output.logits, output.sequences[:, -_NEW:].unbind(1), strict=True))


@contextmanager
def _plain_settings(module: Any) -> Iterator[None]:
    """While entered, the model has no generation settings of its own."""
    from transformers import GenerationConfig

    own = module.generation_config
    module.generation_config = GenerationConfig(pad_token_id=0)
    try:
        yield
    finally:
        module.generation_config = own


def _inputs(module: nn.Module, rows: Sequence[Sequence[int]], padding: int) -> dict[str, Tensor]:
    config: Any = module.config
    size = getattr(config.get_text_config(), "vocab_size", None) or max(TOKENS) + 1
    device = device_of(module)
    longest = max(map(len, rows))
    ids = torch.zeros(len(rows), longest, dtype=torch.long)
    for number, row in enumerate(rows):
        ids[number, longest - len(row) :] = torch.tensor([token % size for token in row])
    mask = torch.ones_like(ids)
    mask[0, :padding] = 0
    return {"input_ids": ids.to(device), "attention_mask": mask.to(device)}
