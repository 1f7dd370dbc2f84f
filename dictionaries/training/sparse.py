"""Sparse products for training: the cost of a step is that of its active entries.

A pattern is the set of active (token, feature) entries of a batch in CSR form. Given the pattern,
values, reconstruction and all gradients need only those entries: about k of `width` columns.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Pattern:
    """Active entries in row-major order: `rows`, `columns` [n], and CSR offsets `starts` [b+1]."""

    rows: Tensor
    columns: Tensor
    starts: Tensor
    shape: tuple[int, int]


def _pattern(rows: Tensor, columns: Tensor, shape: tuple[int, int]) -> Pattern:
    return Pattern(rows, columns, _offsets(rows, shape[0]), shape)


def _offsets(index: Tensor, length: int) -> Tensor:
    starts = torch.zeros(length + 1, dtype=torch.long, device=index.device)
    torch.cumsum(torch.bincount(index, minlength=length), 0, out=starts[1:])
    return starts


BLOCK = 512
"""Rows whose pre-activations are in memory at a time, on a processor."""


@dataclass(frozen=True, eq=False)
class PreActivations:
    """x [b, d] @ W [d, width] + bias [width], a block of rows at a time.

    All at once they are far larger than a processor's caches. Elsewhere a block is the whole batch.
    """

    x: Tensor
    W: Tensor
    bias: Tensor

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.x), self.W.shape[1]

    def of(self, x: Tensor) -> Tensor:
        return torch.addmm(self.bias, x, self.W)

    def blocks(self) -> Iterator[tuple[int, Tensor]]:
        """The first row of each block, and the block, which the next one overwrites."""
        most = min(BLOCK, len(self.x)) if self.x.device.type == "cpu" else len(self.x)
        memory = self.x.new_empty(most, self.W.shape[1])
        for number, part in enumerate(self.x.split(most)):
            yield number * most, torch.addmm(self.bias, part, self.W, out=memory[: len(part)])


def select_tokens(pre: PreActivations, k: int) -> Pattern:
    """TopK: the k largest positive pre-activations of each token."""
    tops = [block.topk(k, dim=-1, sorted=False) for _, block in pre.blocks()]
    values, columns = (torch.cat(parts) for parts in zip(*tops, strict=True))
    rows = torch.arange(len(columns), device=columns.device).unsqueeze(1).expand_as(columns)
    positive = values > 0
    return _pattern(rows[positive], columns[positive], pre.shape)


def select_batch(pre: PreActivations, k: int) -> Pattern:
    """BatchTopK: the k·b largest positive pre-activations of the whole batch.

    A floor from a subsample thins out the candidates first: ranking all entries costs 20× more.
    """
    wanted = k * len(pre.x)
    sample = pre.of(pre.x[:: max(1, len(pre.x) // 64)]).flatten().float()
    share = min(1.0, 1.5 * k / pre.shape[1])
    floor = sample.kthvalue(max(1, int(len(sample) * (1 - share)))).values.clamp(min=0)
    rows, columns, values = _above(pre, floor)
    if len(rows) < wanted and floor > 0:
        rows, columns, values = _above(pre, torch.zeros_like(floor))
    if len(rows) > wanted:
        chosen = values.float().topk(wanted, sorted=False).indices.sort().values
        rows, columns = rows[chosen], columns[chosen]
    return _pattern(rows, columns, pre.shape)


def _above(pre: PreActivations, floor: Tensor) -> tuple[Tensor, ...]:
    """Rows, columns and values of the entries above a floor."""
    chosen = []
    for start, block in pre.blocks():
        rows, columns = (block > floor).nonzero(as_tuple=True)
        chosen.append((rows + start, columns, block[rows, columns]))
    return tuple(torch.cat(parts) for parts in zip(*chosen, strict=True))


def _csr(starts: Tensor, index: Tensor, values: Tensor, shape: tuple[int, int]) -> Tensor:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse")
        return torch.sparse_csr_tensor(starts, index, values, size=shape, check_invariants=False)


def _sampled_product(pattern: Pattern, left: Tensor, right: Tensor) -> Tensor:
    """Entries of left @ right [b, width] at the pattern."""
    empty = _csr(pattern.starts, pattern.columns, left.new_zeros(len(pattern.rows)), pattern.shape)
    return torch.sparse.sampled_addmm(empty, left, right, beta=0.0).values()


class _SparseCode(torch.autograd.Function):
    """relu((x − b_dec)·W_enc + b_enc at the pattern) · W_dec."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        b_dec: Tensor,
        W_enc: Tensor,
        b_enc: Tensor,
        W_dec: Tensor,
        pattern: Pattern,
    ) -> tuple[Tensor, Tensor]:
        centred = x - b_dec
        pre = _sampled_product(pattern, centred, W_enc) + b_enc[pattern.columns]
        values = pre.relu()
        ctx.save_for_backward(centred, W_enc, W_dec, values)
        ctx.pattern = pattern
        code = _csr(pattern.starts, pattern.columns, values, pattern.shape)
        ctx.mark_non_differentiable(values)
        return code @ W_dec, values

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        centred, W_enc, W_dec, values = ctx.saved_tensors
        pattern, upstream = ctx.pattern, gradients[0].contiguous()
        gradient = _sampled_product(pattern, upstream, W_dec.T.contiguous()) * (values > 0)
        width = pattern.shape[1]
        order = pattern.columns.argsort(stable=True)
        starts = _offsets(pattern.columns, width)
        transposed = (width, pattern.shape[0])
        rows = pattern.rows[order]
        d_decoder = _csr(starts, rows, values[order], transposed) @ upstream
        d_encoder = _csr(starts, rows, gradient[order], transposed) @ centred
        d_bias = gradient.new_zeros(width).index_add_(0, pattern.columns, gradient)
        return None, -(W_enc @ d_bias), d_encoder.T, d_bias, d_decoder, None


def reconstruct_sparsely(
    x: Tensor, b_dec: Tensor, W_enc: Tensor, b_enc: Tensor, W_dec: Tensor, pattern: Pattern
) -> tuple[Tensor, Tensor]:
    """x [b, d] -> (x̂ − b_dec [b, d], how often each feature was active [width]).

    Gradients go to the weights, and to b_dec as what is subtracted from x.
    """
    reconstruction, values = _SparseCode.apply(x, b_dec, W_enc, b_enc, W_dec, pattern)
    active = torch.bincount(pattern.columns[values > 0], minlength=pattern.shape[1])
    return reconstruction, active
