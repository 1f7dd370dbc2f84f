"""The tokens of one forward pass: which position of its text each is, and which are padding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Span:
    """The tokens of one forward pass.

    absolute, real, ids [b, s]: position in the text, whether it is no padding, and token id.
    prompt_length [b]; special [n]: ids of the special tokens.
    """

    absolute: Tensor
    real: Tensor
    prompt_length: Tensor
    ids: Tensor
    special: Tensor

    @classmethod
    def prefill(cls, ids: Tensor, mask: Tensor, special: Sequence[int] = ()) -> Span:
        """The first pass over a left-padded batch with ids and attention mask [b, s]."""
        real = mask.bool()
        listed = torch.tensor(list(special), dtype=torch.long, device=ids.device)
        return cls(real.long().cumsum(1) - 1, real, real.sum(1), ids, listed)

    def rows(self, rows: slice) -> Span:
        """The same tokens, of some rows of the batch only."""
        return replace(
            self,
            absolute=self.absolute[rows],
            real=self.real[rows],
            prompt_length=self.prompt_length[rows],
            ids=self.ids[rows],
        )

    def to(self, device: torch.device) -> Span:
        """The same tokens on another device."""
        if self.absolute.device == device:
            return self
        return Span(**{name: value.to(device) for name, value in vars(self).items()})

    def repeat(self, times: int) -> Span:
        """The rows several times over, one copy below the other."""
        return replace(
            self,
            absolute=self.absolute.repeat(times, 1),
            real=self.real.repeat(times, 1),
            prompt_length=self.prompt_length.repeat(times),
            ids=self.ids.repeat(times, 1),
        )

    def step(self, number: int, ids: Tensor) -> Span:
        """The tokens of decoding step `number` (0 is the prefill, this span itself).

        ids: the newest ones [b, 1], or without a cache the whole text [b, s + number] again.
        """
        if number == 0:
            return self
        later = torch.arange(number, device=ids.device) + self.prompt_length.unsqueeze(1)
        real = torch.ones_like(later, dtype=torch.bool)
        if ids.shape[1] > 1:
            later = torch.cat([self.absolute, later], dim=1)
            real = torch.cat([self.real, real], dim=1)
        read = ids.shape[1]
        return replace(self, absolute=later[:, -read:], real=real[:, -read:], ids=ids)

    @property
    def generated(self) -> Tensor:
        """Index [b, s] of the generated token that each position's output is; 0 in the prompt."""
        return (self.absolute - self.prompt_length.unsqueeze(1) + 1).clamp(min=0)
