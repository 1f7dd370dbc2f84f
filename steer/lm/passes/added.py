"""Many edited copies of one prompt in one pass: what is added at a site differs from row to row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from steer.lm.anatomy.values import Site
from steer.lm.passes import save
from steer.lm.passes.plain import read


@dataclass(frozen=True, eq=False)
class Added:
    """n edits in b rows of a prompt of s tokens, as little as can be sent.

    amount [n, s]: how much of each edit is added at each token; rows [n, d]: what a unit of it
    writes; row [n]: the row of the batch that it is in. scale [s, 1]: per-token normalisation to
    undo; None if there is none.
    """

    amount: Tensor
    rows: Tensor
    row: Tensor
    scale: Tensor | None

    def to(self, x: Tensor) -> Tensor:
        """What is added to x [b, s, d]."""
        written = (self.amount.unsqueeze(-1) * self.rows.unsqueeze(1)).to(x.device)
        delta = torch.zeros(x.shape, dtype=written.dtype, device=x.device)
        delta.index_add_(0, self.row.to(x.device), written)
        return (delta if self.scale is None else delta * self.scale.to(x.device)).to(x.dtype)


@dataclass(frozen=True, eq=False)
class Dense:
    """What is added in all rows but the first, which is clean: delta [b - 1, s, d]."""

    delta: Tensor

    def to(self, x: Tensor) -> Tensor:
        """What is added to x [b, s, d]."""
        whole = torch.zeros_like(x)
        whole[1:] = self.delta.to(x.device, x.dtype)
        return whole


Writes = list[tuple[Site, Added | Dense]]
"""What is added at each site, in the order of the forward pass."""


def added(
    nn: Any,
    ids: Tensor,
    writes: Writes,
    options: dict[str, Any],
    keep: int,
    asked: dict[str, Any],
) -> tuple[Any, Any]:
    """A body of `steer.lm.remote_answers`: `logits` [b, keep or s, V] of ids [b, s].

    options: of the model's forward.
    """
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    answer: Any = None
    with torch.inference_mode(), nn.trace(inputs, **options, **asked) as tracer:
        for site, write in writes:
            x = read(nn, site)
            x[:] += write.to(x)
        last = tracer.result.logits[:, -keep:].clone()
        answer = save({"dtype": str(nn._module.dtype), "logits": last})
    return tracer.backend, answer
