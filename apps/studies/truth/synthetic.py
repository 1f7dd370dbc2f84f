"""Activations whose features are known: 4,096 of them in 128 dimensions.

What makes real features hard to learn is in them: far more features than dimensions, frequencies
by Zipf's law, strengths that differ by a factor, groups of features that come together, and
features that only come with another. x is the sum of strength × direction, and nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

FEATURES, D = 4096, 128
L0 = 20.0
"""Features of a sample, on average."""
SHIFT = 10
"""Of Zipf's law (Mandelbrot's): the n-th frequency goes as 1 / (n + SHIFT)."""
GROUPS, TIE = 64, 0.6
"""Groups of features that come together; how far a group decides whether its features come."""
CHILDREN = 0.25
"""Share of the features that only come with another, more frequent one."""
SPREAD = 0.5
"""Of the logarithm of the features' mean strengths; half of it from sample to sample."""
_CHUNK = 2048
_APART = 7_000_000


@dataclass(frozen=True, eq=False)
class Synthetic:
    """rows [FEATURES, D]: the true directions, the most frequent first, of length 1.

    frequency [FEATURES]: in which share of the samples each is.
    train, heldout [n, D]: bf16 samples.
    """

    rows: Tensor
    frequency: Tensor
    train: Tensor
    heldout: Tensor


def zipf() -> Tensor:
    """Frequencies [FEATURES] that add up to `L0`, the largest first."""
    falling = 1 / (torch.arange(FEATURES, dtype=torch.float64) + 1 + SHIFT)
    return L0 * falling / falling.sum()


def synthetic(train: int, heldout: int, seed: int) -> Synthetic:
    """The same samples for the same seed.

    Their directions are of other random numbers than the trainer's first rows of any small seed,
    which would be the truth to begin with.
    """
    generator = torch.Generator().manual_seed(_APART + seed)
    rows = torch.nn.functional.normalize(torch.randn(FEATURES, D, generator=generator), dim=-1)
    process = _Process.draw(generator)
    parts, fired = [], torch.zeros(FEATURES)
    for start in range(0, train + heldout, _CHUNK):
        strength = process.sample(min(_CHUNK, train + heldout - start), generator)
        fired += (strength > 0).sum(0)
        parts.append((strength @ rows).bfloat16())
    x = torch.cat(parts)
    return Synthetic(rows, fired / len(x), x[:train], x[train:])


@dataclass(frozen=True, eq=False)
class _Process:
    """cut [FEATURES]: where a normal variable is above it, the feature comes. group: of each.

    parent: the feature that each child needs, itself for those that are none.
    """

    cut: Tensor
    group: Tensor
    parent: Tensor
    strength: Tensor

    @classmethod
    def draw(cls, generator: torch.Generator) -> _Process:
        frequency = zipf()
        number = torch.arange(FEATURES)
        earlier = (torch.rand(FEATURES, generator=generator) * number / 4).long()
        child = (torch.rand(FEATURES, generator=generator) < CHILDREN) & (number > FEATURES // 16)
        child[earlier] = False  # one generation, so that a parent is there by its own draw
        parent = torch.where(child, earlier, number)
        alone = torch.where(child, frequency / frequency[parent], frequency)
        group = torch.randint(GROUPS, (FEATURES,), generator=generator)
        mean = (SPREAD * torch.randn(FEATURES, generator=generator)).exp()
        cut = torch.distributions.Normal(0.0, 1.0).icdf(1 - alone.clamp(1e-9, 1 - 1e-9))
        return cls(cut.float(), group, parent, mean)

    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        """Strengths [count, FEATURES], 0 of those that do not come."""
        shared = torch.randn(count, GROUPS, generator=generator)[:, self.group]
        own = torch.randn(count, FEATURES, generator=generator)
        there = TIE * shared + (1 - TIE**2) ** 0.5 * own > self.cut
        there &= there[:, self.parent]
        active = there.nonzero(as_tuple=True)
        size = (0.5 * SPREAD * torch.randn(len(active[0]), generator=generator)).exp()
        strength = torch.zeros(count, FEATURES)
        strength[active] = self.strength[active[1]] * size
        return strength
