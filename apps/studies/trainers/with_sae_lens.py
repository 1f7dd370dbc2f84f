"""SAELens: the steps of its `SAETrainer`, as its own coordinators call them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from apps.studies.trainers.size import Size


class SAELens:
    """Its TopK. autocast: forward passes in bf16. settings: of its trainer.

    Its activations as sparse tensors are left out: torch's processor has no such kernels.
    """

    def __init__(
        self, activations: Tensor, size: Size, *, autocast: bool = False, **settings: Any
    ) -> None:
        from sae_lens import TopKTrainingSAE, TopKTrainingSAEConfig
        from sae_lens.config import SAETrainerConfig
        from sae_lens.training.sae_trainer import SAETrainer

        torch.manual_seed(size.seed)
        self.batches = iter(activations.split(size.batch))
        shape = TopKTrainingSAEConfig(d_in=activations.shape[1], d_sae=size.width, k=size.k)
        config = SAETrainerConfig(
            total_training_samples=size.samples,
            train_batch_size_samples=size.batch,
            autocast=autocast,
            **{"lr": size.learning_rate, "lr_end": size.learning_rate, **settings},
        )
        self.trainer = SAETrainer(config, TopKTrainingSAE(shape), self.batches)

    def go_on(self, steps: int) -> None:
        for _ in range(steps):
            self.trainer.maybe_reset_sparsity()
            self.trainer.step(next(self.batches))
            self.trainer.n_training_steps += 1

    def reconstruct(self, x: Tensor) -> Tensor:
        return torch.cat([self.trainer.sae(part) for part in x.split(2048)])

    def encode(self, x: Tensor) -> Tensor:
        return self.trainer.sae.encode(x)
