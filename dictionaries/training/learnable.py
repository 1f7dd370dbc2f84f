"""What nothing can be learned from: refused before the first step, or in the step that meets it."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from dictionaries.errors import TrainingError
from dictionaries.training.state import TrainState, sample_of

CALIBRATED_ON = 65_536
"""Activations that BatchTopK's threshold is set on."""
_SAME = 1e-9
"""Variance over mean square below which a site is constant; rounding makes about 1e-13."""
_LARGEST = "; float16 holds at most 65504, so harvest in bfloat16 or float32"


def check_activations(activations: Tensor, batch: int) -> None:
    """Raise `TrainingError` for activations [n, d] that are too few, not finite, or constant.

    All that the scale and the threshold will be taken from is looked at; the rest is in its batch.
    """
    n = len(activations)
    if n < batch:
        raise TrainingError(f"{n} activations are fewer than one batch of {batch}")
    some = sample_of(activations)
    for part in (some, *sample_of(activations, CALIBRATED_ON).split(4096)):
        if lost := int((~part.isfinite()).any(-1).sum()):
            raise TrainingError(
                f"{lost} of {len(part)} activations that were looked at are not finite: harvest "
                f"them again, without those{_hint(activations)}"
            )
    power = some.square().mean(0).sum().item()
    spread = some.var(dim=0, correction=0).sum().item()
    if not math.isfinite(power):
        raise TrainingError("the activations are too large: their squares overflow float32")
    if spread <= _SAME * power:
        what = "zero" if power == 0 else "the same"
        raise TrainingError(
            f"all activations are {what}: a dictionary can learn nothing from a constant site; "
            "check which site was harvested"
        )


def check_loss(loss: Tensor, x: Tensor, activations: Tensor, batch: Tensor, step: int) -> None:
    """Raise `TrainingError` if the loss of a batch is not finite, before it changes a weight.

    x [b, d]: the batch as it was read; batch [b]: which activations it is.
    """
    if math.isfinite(loss.item()):
        return
    lost = batch[(~x.isfinite()).any(-1).cpu()].tolist()
    if lost:
        shown = ", ".join(map(str, lost[:5])) + (", …" if len(lost) > 5 else "")
        raise TrainingError(
            f"batch {step} holds {len(lost)} of {len(x)} activations that are not finite (number "
            f"{shown}): leave them out, or harvest them again{_hint(activations)}"
        )
    raise TrainingError(
        f"the loss of batch {step} is {loss.item()}, though its activations are finite: training "
        "diverged; lower learning_rate"
    )


def check_weights(state: TrainState) -> None:
    """Raise `TrainingError` if the last step made a weight that is not finite."""
    for name, weight in state.weights.items():
        if not weight.isfinite().all():
            raise TrainingError(
                f"step {state.step} left entries of {name} that are not finite: training diverged; "
                "lower learning_rate"
            )


def _hint(activations: Tensor) -> str:
    return _LARGEST if activations.dtype == torch.float16 else ""
