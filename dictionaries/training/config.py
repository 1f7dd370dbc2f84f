"""The settings of a training run."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import Any

from dictionaries.errors import TrainingError
from dictionaries.training.fast_dtype import fast_dtype

ARCHITECTURES = ("standard", "topk", "batchtopk")
DTYPES = ("float32", "bfloat16", "float16")
FROZEN = ("nothing", "decoder", "soft decoder", "encoder")


@dataclass(frozen=True)
class TrainConfig:
    """Settings of one dictionary.

    architecture: `standard` (L1), `topk` or `batchtopk`.
    width: number of features.
    k: active features per token (TopK family).
    l1: weight α of ‖c‖₁ against ‖x − x̂‖² (`standard`).
    tied: encoder = decoder transposed, as in the seed paper (`standard`).
    samples: activations seen in all, repeats included.
    batch: activations per step.
    learning_rate: Adam's, warmed up over 2% of the steps and decayed to 0 over the last 30%.
    aux_weight: weight of the AuxK loss that revives dead features.
    aux_k: dead features per token that AuxK uses.
    dead_after: a feature is dead when it has not fired for this many activations.
    candidates_dtype: dtype in which all pre-activations are computed to choose the active ones;
        by default what is fast on this machine.
    seed: of the initialisation and the order of samples.
    frozen: what stays as it was drawn, for a baseline (Korznikov et al. 2026): `decoder`, its rows;
        `soft decoder`, its rows within a cone around their start; `encoder`, its weights, while its
        bias learns.
    least_cosine: of a row with its start (`soft decoder`).
    """

    architecture: str = "batchtopk"
    width: int = 4608
    k: int = 32
    l1: float = 0.0
    tied: bool = False
    samples: int = 4_000_000
    batch: int = 2048
    learning_rate: float = 4e-4
    aux_weight: float = 1 / 32
    aux_k: int = 256
    dead_after: int = 500_000
    candidates_dtype: str = field(default_factory=fast_dtype)
    seed: int = 0
    frozen: str = "nothing"
    least_cosine: float = 0.8

    def __post_init__(self) -> None:
        if self.architecture not in ARCHITECTURES:
            raise TrainingError(
                f"architecture {self.architecture!r} can't be trained; "
                f"allowed: {', '.join(ARCHITECTURES)}"
            )
        if self.tied and self.architecture != "standard":
            raise TrainingError("tied weights go with architecture standard")
        if min(self.width, self.k, self.samples, self.batch) < 1 or self.k > self.width:
            raise TrainingError("width, k, samples and batch must be positive, and k at most width")
        if self.samples < self.batch:
            raise TrainingError(
                f"{self.samples} samples are fewer than one batch of {self.batch}: no step would "
                "be made: give more samples, or a smaller batch"
            )
        if self.candidates_dtype not in DTYPES:
            allowed = ", ".join(DTYPES)
            raise TrainingError(
                f"candidates_dtype {self.candidates_dtype!r} is unknown; allowed: {allowed}"
            )
        if not (0 < self.learning_rate < math.inf and 0 <= self.l1 < math.inf):
            raise TrainingError("learning_rate must be positive, l1 not negative, and both finite")
        if self.frozen not in FROZEN:
            raise TrainingError(
                f"frozen {self.frozen!r} is unknown; allowed: {', '.join(map(repr, FROZEN))}"
            )
        if self.tied and self.frozen != "nothing":
            raise TrainingError(
                f"tied weights are encoder and decoder at once, so the {self.frozen} can't be "
                "frozen alone: leave out tied"
            )
        if not 0 < self.least_cosine < 1:
            raise TrainingError(f"least_cosine must be between 0 and 1, not {self.least_cosine}")

    def to_dict(self) -> dict[str, Any]:
        """Plain data. Without what is frozen where nothing is, so that what was made before that
        could be said, and is known by its settings, is found again."""
        described = asdict(self)
        if self.frozen == "nothing":
            del described["frozen"]
        if self.frozen != "soft decoder":
            del described["least_cosine"]
        return described
