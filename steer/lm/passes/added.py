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


def added(
    nn: Any,
    ids: Tensor,
    site: Site,
    change: Added,
    options: dict[str, Any],
    keep: int,
    asked: dict[str, Any],
) -> tuple[Any, Tensor | None]:
    """The tracer's backend and, where the pass ran here, logits [b, keep or s, V].

    ids [b, s]; options: of the model's forward; asked: as `steer.lm.remote.backend` gives them.
    """
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    amount, rows, row, scale = change.amount, change.rows, change.row, change.scale
    answer: Any = None
    with torch.inference_mode(), nn.trace(inputs, **options, **asked) as tracer:
        x = read(nn, site)
        written = (amount.unsqueeze(-1) * rows.unsqueeze(1)).to(x.device)
        delta = torch.zeros(x.shape, dtype=written.dtype, device=x.device)
        delta.index_add_(0, row.to(x.device), written)
        whole = delta if scale is None else delta * scale.to(x.device)
        x[:] += whole.to(x.dtype)
        answer = save(tracer.result.logits[:, -keep:].clone())
    return tracer.backend, answer
