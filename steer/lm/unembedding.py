"""The direct logit effect of a direction: through the frozen final norm and the unembedding.

It is what a residual-stream direction would add to the logits if every later block ignored it.
"""

from __future__ import annotations

import torch
from torch import Tensor

from steer.errors import ModelError
from steer.lm.language_model import LanguageModel
from steer.lm.norm import Norm
from steer.maths.precision import exact


def norm_of(model: LanguageModel) -> Norm:
    """The final norm. Raises `ModelError` for one that is unknown or of another formula."""
    path = model.anatomy.final_norm
    if path is None:
        raise ModelError(
            f"{model.name} has no norm between its last block and its head that is all that is "
            "there, so what a direction adds to the logits is not known"
        )
    try:
        return Norm.of(model.module.get_submodule(path), model.d)
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
