"""The ways in which a published dictionary's file may have been meant, to try one by one.

A reading is a dictionary and what it is given: the conventions that files leave unsaid change one
or the other, and a wrong one still runs. Which one fits shows only on real activations.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from dictionaries.config import NORMALISATIONS, Norm
from dictionaries.dictionary import Dictionary
from dictionaries.sites import in_residual_space

AS_LOADED = "as loaded"
_SAME_SCALE = 0.05
"""A norm factor this near to 1 changes nothing that could be told apart."""


@dataclass(frozen=True, eq=False)
class Sample:
    """What n texts of s tokens hold: x [n, s, d_in] to read, y [n, s, d_out] to reconstruct.

    keep [n, s]: the positions that count.
    given [n, s, d_out]: what other dictionaries write of y, if this one writes a part of it.
    """

    x: Tensor
    y: Tensor
    keep: Tensor
    given: Tensor | None = None

    @property
    def tokens(self) -> int:
        return int(self.keep.sum())

    @property
    def norms(self) -> tuple[float, float]:
        """Mean norms of x and y at the positions that count."""
        into, out = (t[self.keep].norm(dim=-1).mean().item() for t in (self.x, self.y))
        return into, out

    def map(self, of_x: Callable[[Tensor], Tensor], of_y: Callable[[Tensor], Tensor]) -> Sample:
        given = None if self.given is None else of_y(self.given)
        return replace(self, x=of_x(self.x), y=of_y(self.y), given=given)

    def split(self, rows: int) -> Iterator[Sample]:
        """So many texts at a time."""
        for start in range(0, len(self.x), rows):
            part = slice(start, start + rows)
            given = None if self.given is None else self.given[part]
            yield Sample(self.x[part], self.y[part], self.keep[part], given)


@dataclass(frozen=True, eq=False)
class Reading:
    """A dictionary and what it is given."""

    name: str
    dictionary: Dictionary
    sample: Sample


@dataclass(frozen=True)
class Figures:
    """Of one reading: mean active features a token, FVU, and share of features never active."""

    l0: float
    fvu: float
    dead_share: float


def readings(
    dictionary: Dictionary,
    sample: Sample,
    others: Mapping[str, Sample],
    norms: tuple[float, float] | None = None,
) -> Iterator[Reading]:
    """The dictionary as loaded, then one convention changed at a time.

    others: by name, other sites and texts that may have been meant.
    norms: mean norms of x and y, if those of the sample are of too few tokens.
    """
    yield Reading(AS_LOADED, dictionary, sample)
    yield from _biases(dictionary, sample)
    yield from _transposed(dictionary, sample)
    normalised = dictionary.config.normalisation
    if in_residual_space(dictionary.config.hookpoint) and normalised != "layer_norm":
        yield Reading("residual centred", dictionary, sample.map(_centred, _centred))
    if normalised == "none":  # others undo a scale
        yield from _scales(dictionary, sample, norms or sample.norms)
    for name in NORMALISATIONS:
        if name != dictionary.config.normalisation and not dictionary.is_transcoder:
            config = replace(dictionary.config, normalisation=name)
            yield Reading(f"normalisation {name}", replace(dictionary, config=config), sample)
    for name, other in others.items():
        yield Reading(name, dictionary, other)


def _centred(x: Tensor) -> Tensor:
    return x - x.mean(-1, keepdim=True)


def _biases(dictionary: Dictionary, sample: Sample) -> Iterator[Reading]:
    """Loaders fold the decoder bias that an encoder subtracts: it may be once too often or few."""
    if dictionary.config.d_out not in (None, dictionary.config.d_in) or dictionary.reads_texts:
        return
    shift = dictionary.b_dec @ dictionary.W_enc
    for name, sign in (("decoder bias subtracted", -1), ("decoder bias not subtracted", 1)):
        if bool(shift.any()):
            changed = replace(dictionary, b_enc=dictionary.b_enc + sign * shift)
            yield Reading(name, changed, sample)


def _transposed(dictionary: Dictionary, sample: Sample) -> Iterator[Reading]:
    """Square matrices fit either way round: no shape tells which was meant."""
    for name in ("W_enc", "W_dec", "W_skip"):
        matrix = getattr(dictionary, name)
        if matrix is not None and matrix.shape[0] == matrix.shape[1]:
            changed = replace(dictionary, **{name: matrix.T.contiguous()})
            yield Reading(f"{name} transposed", changed, sample)


def _scales(
    dictionary: Dictionary, sample: Sample, norms: tuple[float, float]
) -> Iterator[Reading]:
    """Activations scaled to a mean norm of sqrt(d), as trainers do, or to 1; or weights twice."""
    roots = [t.shape[-1] ** 0.5 for t in (sample.x, sample.y)]
    to_root = [root / norm for root, norm in zip(roots, norms, strict=True)]
    for into, out in (to_root, roots):
        if abs(into - 1) > _SAME_SCALE:
            for a, b in ((into, out), (1 / into, 1 / out)):
                scaled = sample.map(lambda x, a=a: x * a, lambda y, b=b: y * b)  # type: ignore[misc]
                yield Reading(f"norm factor {a:.3g} on the input", dictionary, scaled)


def reconstruction(dictionary: Dictionary, sample: Sample) -> Tensor:
    """y as the dictionary, and those that write the rest of it, explain it [n, s, d_out]."""
    return _rebuilt(dictionary, sample, *dictionary.encode_texts(sample.x))


def _rebuilt(dictionary: Dictionary, sample: Sample, features: Tensor, norm: Norm) -> Tensor:
    rebuilt = dictionary.written(features, norm)
    if dictionary.W_skip is not None:
        rebuilt = rebuilt + sample.x @ dictionary.W_skip
    return rebuilt if sample.given is None else rebuilt + sample.given


@torch.inference_mode()
def figures(reading: Reading, batch: int = 512) -> Figures:
    """Reconstruct y from x, some texts of together about `batch` tokens at a time."""
    dictionary, sample = reading.dictionary, reading.sample
    mean = sample.y[sample.keep].mean(0)
    error = variance = active = 0.0
    fired = torch.zeros(dictionary.width, dtype=torch.bool, device=sample.x.device)
    for part in sample.split(max(1, batch // sample.x.shape[1])):
        keep = part.keep
        features, norm = dictionary.encode_texts(part.x)
        rebuilt = _rebuilt(dictionary, part, features, norm)
        error += (part.y - rebuilt)[keep].square().sum().item()
        variance += (part.y - mean)[keep].square().sum().item()
        active += (features[keep] != 0).sum().item()
        fired |= (features[keep] != 0).any(0)
    return Figures(
        l0=active / sample.tokens,
        fvu=error / variance if variance else float("inf"),
        dead_share=1 - fired.float().mean().item(),
    )
