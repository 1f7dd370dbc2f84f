"""This package's trainer, a few steps at a time."""

from __future__ import annotations

from itertools import islice

from torch import Tensor

from apps.studies.trainers.size import Size
from dictionaries.config import DictionaryConfig
from dictionaries.training.state import initialise
from dictionaries.training.train import TrainConfig, finish, steps


class Ours:
    """TopK; the active features are chosen in `dtype`, and all else is in fp32."""

    def __init__(self, activations: Tensor, size: Size, dtype: str) -> None:
        self.activations = activations
        self.config = TrainConfig(
            architecture="topk",
            width=size.width,
            k=size.k,
            samples=size.samples,
            batch=size.batch,
            learning_rate=size.learning_rate,
            candidates_dtype=dtype,
            seed=size.seed,
        )
        self.state = initialise(activations, self.config)
        self.training = steps(activations, self.config, self.state)

    def go_on(self, steps: int) -> None:
        for _ in islice(self.training, steps):
            pass

    def reconstruct(self, x: Tensor) -> Tensor:
        about = DictionaryConfig(x.shape[1], self.config.width, "activations")
        return finish(self.state, self.activations, self.config, about).reconstruct(x)
