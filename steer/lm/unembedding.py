"""The direct logit effect of a direction: through the frozen final norm and the unembedding.

It is what a residual-stream direction would add to the logits if every later block ignored it.
"""

from __future__ import annotations

import torch
from torch import Tensor

from steer.errors import ModelError
from steer.lm.anatomy import final_norm
from steer.lm.language_model import LanguageModel
from steer.lm.norm import Norm
from steer.maths.precision import exact


def norm_of(model: LanguageModel) -> Norm:
    """The final norm. Raises `ModelError` for one that is unknown or of another formula."""
    try:
        return Norm.of(final_norm(model.module), model.d)
    except ModelError as error:
        raise ModelError(f"the final norm of {model.name}: {error}") from error


@torch.inference_mode()
def direct_logits(model: LanguageModel, directions: Tensor) -> Tensor:
    """directions [n, d] -> logits [n, V] up to the final norm's scale, which is left out.

    Raises `ModelError` for a final norm that is unknown.
    """
    norm = norm_of(model)
    unembedding = model.module.get_output_embeddings().weight
    return norm.slope(directions.to(norm.gain)) @ exact(unembedding).T
