"""What an edit is compared with, as what is added to the clean pass: its ‖Δ‖, other directions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dictionaries.dictionary import Dictionary
from steer.effects.controls.matching import Like


@dataclass(frozen=True, eq=False)
class Trial:
    """One control of one edit: what kind, which draw, its Δ [s, d], and whose row it is.

    later: Δ at each site that a cross-layer transcoder writes beyond its own block.
    """

    control: str
    draw: int
    feature: int | None
    delta: Tensor
    density: float | None = None
    later: tuple[Tensor, ...] = ()

    @property
    def deltas(self) -> tuple[Tensor, ...]:
        """Δ at every site."""
        return (self.delta, *self.later)


def random_trials(
    delta: Tensor, draws: int, seed: int, later: Sequence[Tensor] = ()
) -> list[Trial]:
    """Random unit directions with the edit's norm at every position, as fair as O27 asks.

    later: the edit at the later sites of a cross-layer transcoder; then the edit is turned at
        random, alike at every site and position. That keeps the angles between sites too: what a
        feature writes at one block may add up with what it writes at the next.
    """
    if later:
        return _turned([delta, *later], draws, seed)
    generator = torch.Generator().manual_seed(seed)
    norm = delta.double().norm(dim=-1, keepdim=True)
    directions = torch.randn(draws, delta.shape[-1], generator=generator, dtype=torch.float64)
    directions = (directions / directions.norm(dim=-1, keepdim=True)).to(delta.device)
    return [
        Trial("random", number, None, (norm * direction).to(delta.dtype))
        for number, direction in enumerate(directions)
    ]


def matched_trials(
    delta: Tensor,
    dictionary: Dictionary,
    others: Sequence[Like],
    sign: float,
    later: Sequence[Tensor] = (),
) -> list[Trial]:
    """Decoder rows of other features with the edit's norm at every position, and its sign.

    later: the edit at the later sites of a cross-layer transcoder, each with the rows there.
    """
    index = [other.feature for other in others]
    own = _along(delta, dictionary.W_dec[index], sign)
    rows = [] if dictionary.later is None else dictionary.later.W_dec[index].unbind(1)
    more = [_along(d, row, sign) for d, row in zip(later, rows, strict=True)] if later else []
    return [
        Trial("matched", n, other.feature, own[n], other.density, tuple(part[n] for part in more))
        for n, other in enumerate(others)
    ]


def _along(delta: Tensor, rows: Tensor, sign: float) -> Tensor:
    """[n, s, d]: the norm of delta [s, d] along each of rows [n, d]; 0 along a row that is 0."""
    rows = rows.double().to(delta.device)
    rows = sign * rows / rows.norm(dim=-1, keepdim=True).clamp(min=1e-12)
    norm = delta.double().norm(dim=-1, keepdim=True)
    return (norm * rows.unsqueeze(1)).to(delta.dtype)


def _turned(deltas: Sequence[Tensor], draws: int, seed: int) -> list[Trial]:
    """Within the space that the edit spans, which a random one of as many dimensions replaces."""
    generator = torch.Generator().manual_seed(seed)
    whole = torch.cat([delta.double() for delta in deltas])
    left, size, _ = torch.linalg.svd(whole, full_matrices=False)
    spanned = size > size.amax() * 1e-12
    shares = left[:, spanned] * size[spanned]
    trials = []
    for number in range(draws):
        noise = torch.randn(whole.shape[1], shares.shape[1], generator=generator).double()
        turned = shares @ torch.linalg.qr(noise.to(shares.device)).Q.T
        own, *later = turned.to(deltas[0].dtype).split([len(delta) for delta in deltas])
        trials.append(Trial("random", number, None, own, later=tuple(later)))
    return trials
