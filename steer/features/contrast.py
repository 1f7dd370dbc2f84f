"""Which features tell two sets of prompts apart, and how surely."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import torch
from torch import Tensor

from dictionaries.dictionary import Dictionary
from steer.errors import PromptError
from steer.features.activations import encode
from steer.features.fit import site_of
from steer.lm.language_model import LanguageModel
from steer.maths.precision import exact
from steer.maths.statistics import benjamini_hochberg
from steer.progress import Progress
from steer.shown import Shown

if TYPE_CHECKING:
    import pandas

Report = Callable[[int], None]
Per = Literal["mean", "max", "last"]
_RESAMPLES, _FLIPS = 2000, 10_000
_PART = 256
_TOKENS = 1024
"""Most tokens of a batch of prompts."""


@dataclass(frozen=True)
class FeatureDifference:
    """One feature. difference: first minus second, with its interval.

    p: of the difference, two-sided, by permuting the prompts; q: adjusted for the number of
    features (false discovery rate).
    """

    feature: int
    first: float
    second: float
    difference: float
    low: float
    high: float
    p: float
    q: float


@dataclass(frozen=True, repr=False)
class FeatureContrast(Shown):
    """Features of a dictionary on two sets of prompts, the surest first, then the largest.

    per: what of a feature is compared between prompts: its mean or maximum over a prompt's tokens
        (the first left out), or its activation at the last token.
    tested: features active in at least one prompt; the others differ by 0.
    """

    dictionary: str
    model: str
    dtype: str
    per: str
    level: float
    prompts: tuple[int, int]
    tested: int
    features: tuple[FeatureDifference, ...]

    _columns: ClassVar = ("feature", "first", "second", "difference", "low", "high", "q")

    def _title(self) -> str:
        return (
            f"FeatureContrast: {self.tested:,} features of {self.dictionary}, {self.per} of "
            f"{self.prompts[0]} against {self.prompts[1]} prompts"
        )

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def to_frame(self) -> pandas.DataFrame:
        """One row a feature."""
        import pandas

        return pandas.DataFrame([asdict(feature) for feature in self.features])


def feature_contrast(
    model: LanguageModel,
    dictionary: Dictionary,
    first: Sequence[str],
    second: Sequence[str],
    *,
    per: Per = "mean",
    level: float = 0.95,
    seed: int = 0,
    progress: Progress | None = None,
) -> FeatureContrast:
    """Compare every feature between two sets of prompts; a prompt counts once, however long.

    Intervals are percentile bootstraps over the prompts of each set; p-values permute prompts
    between the sets, and can't be lower than 1 over the number of permutations.
    Raises `PromptError` for a set of fewer than two prompts, or a `per` that is unknown.
    """
    if per not in ("mean", "max", "last"):
        raise PromptError(f"per={per!r} is unknown; allowed: mean, max, last")
    for name, prompts in (("first", first), ("second", second)):
        if isinstance(prompts, str) or len(prompts) < 2:
            raise PromptError(f"the {name} set needs two prompts or more, for an interval")
    report = _counted(progress, len(first) + len(second))
    one, other = (
        _per_prompt(model, dictionary, prompts, per, report) for prompts in (first, second)
    )
    tested = ((one != 0).any(0) | (other != 0).any(0)).nonzero().flatten()
    one, other = one[:, tested], other[:, tested]
    low, high = _interval(one, other, level, seed)
    p = _permuted(one, other, seed)
    columns = [tested, one.mean(0), other.mean(0), one.mean(0) - other.mean(0), low, high]
    columns += [p, benjamini_hochberg(p)]
    rows = [FeatureDifference(*row) for row in zip(*(c.tolist() for c in columns), strict=True)]
    rows.sort(key=lambda row: (row.p, -abs(row.difference)))
    return FeatureContrast(
        dictionary=dictionary.name,
        model=model.name,
        dtype=model.precision,
        per=per,
        level=level,
        prompts=(len(first), len(second)),
        tested=len(rows),
        features=tuple(rows),
    )


def _counted(progress: Progress | None, total: int) -> Report:
    """Tells the progress of more prompts read."""
    done = 0

    def report(more: int) -> None:
        nonlocal done
        done += more
        if progress:
            progress("reading", done, total)

    return report


def _per_prompt(
    model: LanguageModel, dictionary: Dictionary, prompts: Sequence[str], per: Per, report: Report
) -> Tensor:
    """[n, width] float64: each feature's mean, maximum or last activation over a prompt."""
    hookpoint = site_of(model, dictionary)
    lengths = [len(model.tokenize([prompt])[0][0]) for prompt in prompts]
    values = torch.zeros(len(prompts), dictionary.width, dtype=torch.float64)
    for batch in _batches(lengths, padded=model.can_pad):
        ids, mask = model.tokenize([prompts[place] for place in batch])
        x = exact(model.collect(ids, mask, [hookpoint])[hookpoint])
        ours = dictionary.to(x.device, x.dtype)
        for place, row in zip(batch, x, strict=True):
            activations = encode(ours, row[-lengths[place] :])
            values[place] = _of_prompt(activations, per).cpu()
        report(len(batch))
    return values


def _batches(lengths: Sequence[int], padded: bool) -> Iterator[list[int]]:
    """Places of about equally long prompts, few tokens together; one by one without padding."""
    batch: list[int] = []
    for place in sorted(range(len(lengths)), key=lengths.__getitem__):
        if batch and (not padded or (len(batch) + 1) * lengths[place] > _TOKENS):
            yield batch
            batch = []
        batch.append(place)
    yield batch


def _of_prompt(activations: Tensor, per: Per) -> Tensor:
    """[width], of one prompt's [s, width]."""
    counted = activations[1:] if len(activations) > 1 else activations
    match per:
        case "mean":
            return counted.mean(0)
        case "max":
            return counted.amax(0)
        case _:
            return activations[-1]


def _interval(one: Tensor, other: Tensor, level: float, seed: int) -> tuple[Tensor, Tensor]:
    """Bounds [m] of mean(one) − mean(other), the prompts of each set resampled."""
    generator = torch.Generator().manual_seed(seed)
    weights = [_weights(len(sample), generator) for sample in (one, other)]
    tail = (1 - level) / 2
    bounds = []
    for a, b in zip(one.split(_PART, 1), other.split(_PART, 1), strict=True):
        means = (weights[0] @ a - weights[1] @ b).sort(0).values
        places = [round(share * (_RESAMPLES - 1)) for share in (tail, 1 - tail)]
        bounds.append(means[places])
    low, high = torch.cat(bounds, dim=1) if bounds else one.new_zeros(2, 0)
    return low, high


def _weights(n: int, generator: torch.Generator) -> Tensor:
    """[resamples, n]: how much each prompt counts in each resample."""
    drawn = torch.randint(n, (_RESAMPLES, n), generator=generator)
    ones = torch.full(drawn.shape, 1 / n, dtype=torch.float64)
    return torch.zeros(_RESAMPLES, n, dtype=torch.float64).scatter_add_(1, drawn, ones)


def _permuted(one: Tensor, other: Tensor, seed: int) -> Tensor:
    """Two-sided p [m] of the difference of means, by random relabelling of the prompts."""
    n, m = len(one), len(other)
    generator = torch.Generator().manual_seed(seed)
    order = torch.rand(_FLIPS, n + m, generator=generator).argsort(1)
    signs = torch.where(order < n, 1 / n, -1 / m).double()
    both = torch.cat([one, other])
    observed = (one.mean(0) - other.mean(0)).abs()
    counts = [
        ((signs @ part).abs() >= seen * (1 - 1e-9)).sum(0)
        for part, seen in zip(both.split(_PART, 1), observed.split(_PART), strict=True)
    ]
    total = torch.cat(counts) if counts else observed.long()
    return (total + 1).double() / (_FLIPS + 1)
