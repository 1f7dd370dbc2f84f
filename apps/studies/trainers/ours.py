"""This package's trainer, a few steps at a time."""

from __future__ import annotations

from itertools import islice

import torch
from torch import Tensor

from apps.studies.trainers.size import Size
from dictionaries.config import DictionaryConfig
from dictionaries.dictionary import Dictionary
from dictionaries.training.state import initialise
from dictionaries.training.train import TrainConfig, finish, steps


class Ours:
    """TopK; the active features are chosen in `dtype`, and all else is in fp32."""

    def __init__(
        self, activations: Tensor, size: Size, dtype: str, learning_rate: float | None = None
    ) -> None:
        self.activations = activations
        self.config = TrainConfig(
            architecture="topk",
            width=size.width,
            k=size.k,
            samples=size.samples,
            batch=size.batch,
            learning_rate=learning_rate or size.learning_rate,
            candidates_dtype=dtype,
            seed=size.seed,
        )
        self.state = initialise(activations, self.config)
        self.training = steps(activations, self.config, self.state)

    def go_on(self, steps: int) -> None:
        for _ in islice(self.training, steps):
            pass

    def reconstruct(self, x: Tensor) -> Tensor:
        now = self._now()
        return torch.cat([now.reconstruct(part) for part in x.split(2048)])

    def encode(self, x: Tensor) -> Tensor:
        return self._now().encode(x)[0]

    def _now(self) -> Dictionary:
        about = DictionaryConfig(self.activations.shape[1], self.config.width, "activations")
        return finish(self.state, self.activations, self.config, about)
