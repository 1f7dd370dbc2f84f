"""EleutherAI's sparsify: its `Trainer.fit`, over a model that only reads activations out.

Its trainer takes activations from a hook in a transformers model. Here that model is one look-up
in the tensor in memory, so that what is timed is the trainer.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, ClassVar
from unittest import mock

import torch
from torch import Tensor

from apps.studies.trainers.size import SEQUENCE, Size


class _Reader(torch.nn.Module):
    """Rows of the activations at ids [b, length]; what sparsify asks of a model."""

    dummy_inputs: ClassVar = {"input_ids": torch.zeros(1, 1, dtype=torch.long)}
    device = torch.device("cpu")
    config = SimpleNamespace(num_hidden_layers=1)

    def __init__(self, activations: Tensor) -> None:
        super().__init__()
        self.activations = activations
        self.site = torch.nn.Identity()

    @property
    def base_model(self) -> _Reader:
        return self

    def forward(self, input_ids: Tensor) -> Tensor:
        return self.site(self.activations[input_ids])


class _Sequences:
    """Numbers of activations [n, length], a row a sequence."""

    def __init__(self, ids: Tensor) -> None:
        self.ids = ids

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, row: int) -> dict[str, Tensor]:
        return {"input_ids": self.ids[row]}

    def select(self, rows: range) -> _Sequences:
        return _Sequences(self.ids[rows.start : rows.stop])


class Sparsify:
    """Its defaults: TopK, SignSGD without a schedule at its own learning rate, no AuxK.

    settings: of its trainer. Its Adam is torch's, since the one of 8 bits needs a GPU.
    """

    def __init__(self, activations: Tensor, size: Size, **settings: Any) -> None:
        if not torch.cuda.is_available():  # its own switch: it would take triton's kernels for it
            os.environ.setdefault("SPARSIFY_DISABLE_TRITON", "1")
        from sparsify import SparseCoderConfig, TrainConfig, Trainer

        class Unsaved(Trainer):  # type: ignore[misc]
            """`fit` ends with writing files, which is no part of a step."""

            def save(self) -> None:
                pass

        self.ids = torch.arange(size.samples).view(-1, SEQUENCE)
        self.a_step = size.batch // SEQUENCE
        config = TrainConfig(
            SparseCoderConfig(num_latents=size.width, k=size.k),
            batch_size=self.a_step,
            hookpoints=["site"],
            init_seeds=[size.seed],
            log_to_wandb=False,
            save_every=size.steps + 2,
            **settings,
        )
        with mock.patch.dict(sys.modules, {"bitsandbytes.optim": None}):  # as if not installed
            self.trainer = Unsaved(config, _Sequences(self.ids), _Reader(activations))

    def go_on(self, steps: int) -> None:
        """`fit` goes on from its step to the end of the data, which is moved on a round."""
        until = (self.trainer.global_step + steps) * self.a_step
        self.trainer.dataset = _Sequences(self.ids[:until])
        self.trainer.fit()

    def reconstruct(self, x: Tensor) -> Tensor:
        with self._averaged() as sae:
            return torch.cat([sae(part).sae_out for part in x.split(2048)])

    def encode(self, x: Tensor) -> Tensor:
        with self._averaged() as sae:
            code = sae.encode(x)
            return torch.zeros_like(code.pre_acts).scatter(-1, code.top_indices, code.top_acts)

    @contextmanager
    def _averaged(self) -> Iterator[Any]:
        """With the averaged weights, which are those that it saves; Adam has no others."""
        (optimizer,) = self.trainer.optimizers
        averages = hasattr(optimizer, "eval")
        if averages:
            optimizer.eval()
        try:
            yield self.trainer.saes["site"]
        finally:
            if averages:
                optimizer.train()
