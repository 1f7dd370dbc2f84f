"""The direct logit effect of a direction: through the frozen final norm and the unembedding.

It is what a residual-stream direction would add to the logits if every later block ignored it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from steer.errors import ModelError
from steer.maths.precision import exact

if TYPE_CHECKING:
    from steer.model import Model

_FINAL_NORMS = (
    "model.norm",
    "transformer.ln_f",
    "gpt_neox.final_layer_norm",
    "model.language_model.norm",
)


@torch.inference_mode()
def direct_logits(model: Model, directions: Tensor) -> Tensor:
    """directions [n, d] -> logits [n, V] up to the final norm's scale, which is left out.

    LayerNorm centres the direction, RMSNorm does not; the gain applies in both. Gemma's RMSNorm
    multiplies by 1 + weight.
    """
    norm = final_norm(model)
    gain = exact(norm.weight)
    centre = getattr(norm, "bias", None) is not None
    if type(norm).__name__.startswith("Gemma"):
        gain = gain + 1
    moved = directions.to(gain)
    if centre:
        moved = moved - moved.mean(-1, keepdim=True)
    unembedding = model.module.get_output_embeddings().weight
    return (moved * gain) @ exact(unembedding).T


def final_norm(model: Model) -> Any:
    """The norm before the unembedding. Raises `ModelError` for a model without a known one."""
    for path in _FINAL_NORMS:
        try:
            return model.module.get_submodule(path)
        except AttributeError:
            continue
    raise ModelError(f"{model.name} has no final norm at any of {', '.join(_FINAL_NORMS)}")
