"""A family's tiny model with seeded weights under which every part of a block can be seen."""

from __future__ import annotations

import contextlib
import math
from typing import Any

import torch
from torch import Tensor, nn
from transformers import (
    MODEL_FOR_CAUSAL_LM_MAPPING,
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    GenerationConfig,
)

from tests.conformance.families import EOS, PAD, tiny_config
from tests.conformance.overrides import CONTEXT, WRAPPERS

SEED = 5
_LARGEST = 20_000_000
"""Parameters; a family whose config could not be shrunk is not run."""


UNREADABLE = (ValueError, TypeError, RuntimeError, AttributeError, IndexError)
"""What models raise that don't read token ids alone."""


class NotBuiltError(Exception):
    """A family that can't be made tiny, with the reason."""


def build(family: str, *, given_context: bool = False) -> Any:
    """The model in float32 and eval mode; the same weights every time.

    given_context: a config that does not say how much its model reads is told, so that what else
        is wrong with it can be seen.
    """
    try:
        config = tiny_config(family)
        with torch.random.fork_rng():
            torch.manual_seed(SEED)
            model = _made(config).eval()
            count = sum(weight.numel() for weight in model.parameters())
            if count > _LARGEST:
                raise NotBuiltError(f"{count} parameters after shrinking")
            fill(model)
            model.generation_config = GenerationConfig(eos_token_id=EOS, pad_token_id=PAD)
            with contextlib.suppress(*UNREADABLE):  # then steer is to refuse it
                ids = torch.tensor([[7, 31, 12, 55]])
                if not model(input_ids=ids, use_cache=False).logits.isfinite().all():
                    raise NotBuiltError("its logits are not finite under random weights")
    except NotBuiltError:
        raise
    except Exception as error:  # a config class may raise anything for what it does not like
        raise NotBuiltError(f"{type(error).__name__}: {last_line(error)}") from error
    text = model.config.get_text_config()
    if given_context and getattr(text, "max_position_embeddings", 0) < 1:
        with contextlib.suppress(NotImplementedError):  # XLNet's can't be set
            text.max_position_embeddings = CONTEXT
    return model


def _made(config: Any) -> Any:
    """The model in float32; of a part of the config, where that is all that its class takes."""
    cls: Any = MODEL_FOR_CAUSAL_LM_MAPPING.get(type(config), None)
    wanted = getattr(cls, "config_class", None)
    if wanted is not None and not isinstance(config, wanted):
        parts = (part for part in vars(config).values() if isinstance(part, wanted))
        if (part := next(parts, None)) is not None:
            return cls._from_config(part, dtype=torch.float32)
    auto = AutoModelForImageTextToText if config.model_type in WRAPPERS else AutoModelForCausalLM
    return auto.from_config(config, dtype=torch.float32)


@torch.no_grad()
def fill(model: nn.Module) -> None:
    """Linear weights of 1/√fan-in, embeddings of 1, and gains and biases off their defaults."""
    owners = {
        id(weight): (module, name)
        for module in model.modules()
        for name, weight in module.named_parameters(recurse=False)
    }
    for weight in model.parameters():
        module, name = owners[id(weight)]
        if not weight.is_floating_point():
            continue
        if weight.dim() < 2 or "a_log" in name.lower():
            weight.add_(0.15 * torch.randn_like(weight))
        elif isinstance(module, nn.Embedding):
            weight.copy_(torch.randn_like(weight))
        else:
            weight.copy_(torch.randn_like(weight) / math.sqrt(_fan_in(module, weight)))
    for name, buffer in model.named_buffers():
        if name.endswith("scalar"):  # of Gemma 4's blocks: 1 by default, and not in published ones
            buffer.fill_(0.7)
    head: Any = model.get_output_embeddings()  # type: ignore[operator]
    if head is not None and getattr(head, "weight", None) is not None:  # tied or not
        head.weight.copy_(torch.randn_like(head.weight) / 2)


def _fan_in(module: nn.Module, weight: Tensor) -> int:
    if type(module).__name__ == "Conv1D":  # transformers' own, which is a transposed linear
        return weight.shape[0]
    if isinstance(module, nn.Conv1d | nn.Conv2d):
        return weight[0].numel()
    return weight.shape[-1]


def last_line(error: BaseException) -> str:
    """What an error says, in one line."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[-1].strip()[:240] if lines else type(error).__name__
