"""dictionary_learning: the updates of its `TopKTrainer`."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from apps.studies.trainers.size import Size


class DictionaryLearning:
    """Its TopK, its learning rate warmed up over 2% of the steps as ours is.

    Its own 1,000 steps of warming up are more than there are. settings: of its trainer.
    """

    def __init__(self, activations: Tensor, size: Size, **settings: Any) -> None:
        from dictionary_learning.trainers.top_k import TopKTrainer

        self.batches = iter(activations.split(size.batch))
        self.step = 0
        self.trainer = TopKTrainer(
            steps=size.steps,
            activation_dim=activations.shape[1],
            dict_size=size.width,
            k=size.k,
            layer=0,
            lm_name="activations",
            seed=size.seed,
            device="cpu",
            **{"lr": size.learning_rate, "warmup_steps": size.steps // 50, **settings},
        )

    def go_on(self, steps: int) -> None:
        for _ in range(steps):
            self.trainer.update(self.step, next(self.batches))
            self.step += 1

    def reconstruct(self, x: Tensor) -> Tensor:
        return torch.cat([self.trainer.ae(part) for part in x.split(2048)])

    def encode(self, x: Tensor) -> Tensor:
        return self.trainer.ae.encode(x)
