"""How close patching brings a run to its target, against how much is patched."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from dictionaries.extras import need
from steer.errors import SteerError
from steer.maths.statistics import Interval, interval
from steer.shown import Shown

if TYPE_CHECKING:
    import pandas

    from steer.figures.style import Figure

AXES = ("count", "norm")


@dataclass(frozen=True, eq=False, repr=False)
class Curve(Shown):
    """A metric at growing sets of patched nodes, on n prompt pairs.

    counts: nodes in each set.
    value [points, n]: the metric; of `kl`, KL(edited‖target) at the last token in nats.
    norm [points, n]: mean over the positions of ‖Δx‖.
    """

    counts: tuple[int, ...]
    value: Tensor
    norm: Tensor
    dictionary: str
    ranking: str
    metric: str
    error: str

    _columns: ClassVar = ("count", "value", "low", "high", "norm")

    def _title(self) -> str:
        return (
            f"Curve: {self.metric} against features of {self.dictionary} patched, by "
            f"{self.ranking}, {self.value.shape[1]} pairs, error {self.error}"
        )

    def plot(self) -> Figure:
        """The metric against how many are patched."""
        need("plotly")
        from steer.figures.curves import patching_curves

        return patching_curves({self.ranking: self})

    def to_frame(self, *, level: float = 0.95, seed: int = 0) -> pandas.DataFrame:
        """One row a point: count, value and norm, each with its interval over the pairs."""
        import pandas

        rows = []
        for count, value, norm in zip(self.counts, self.value, self.norm, strict=True):
            effect, size = (interval(v, level=level, seed=seed) for v in (value, norm))
            rows.append(
                {
                    "count": count,
                    "value": effect.mean,
                    "low": effect.low,
                    "high": effect.high,
                    "norm": size.mean,
                    "norm_low": size.low,
                    "norm_high": size.high,
                }
            )
        return pandas.DataFrame(rows)

    def areas(self, axis: str = "count", upto: float | None = None) -> Tensor:
        """Mean height of each pair's curve from 0 to `upto` on the axis, [n]; by trapezoids.

        upto: by default the end of the shortest curve. Beyond its end a curve keeps its height.
        Curves of different dictionaries are comparable with the same `upto`.

        Raises `SteerError` for an unknown axis.
        """
        if axis not in AXES:
            raise SteerError(f"axis={axis!r} is unknown; allowed: {', '.join(AXES)}")
        counts = torch.tensor(self.counts, dtype=torch.float64)
        places = counts.unsqueeze(1).expand_as(self.value) if axis == "count" else self.norm
        end = upto if upto is not None else places.amax(0).min().item()
        if end <= 0:
            raise SteerError(f"upto={end:g} on the axis {axis}: nothing lies between it and 0")
        pairs = zip(places.unbind(1), self.value.unbind(1), strict=True)
        return torch.stack([_height(x, y.double(), end) for x, y in pairs])

    def area(self, axis: str = "count", upto: float | None = None, *, seed: int = 0) -> Interval:
        """`areas` over the pairs, with its interval."""
        return interval(self.areas(axis, upto), seed=seed)

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for JSON: NaN bounds become None."""
        frame = self.to_frame()
        return {
            "dictionary": self.dictionary,
            "ranking": self.ranking,
            "metric": self.metric,
            "error": self.error,
            "pairs": self.value.shape[1],
            "area": _finite(self.area()) if max(self.counts) > 0 else None,
            "points": frame.astype(object).where(frame.notna(), None).to_dict("records"),
        }


def compare_areas(
    ours: Curve, theirs: Curve, axis: str = "count", upto: float | None = None, *, seed: int = 0
) -> Interval:
    """Area of one curve minus another's on the same pairs, pair by pair; below 0, ours is lower.

    upto: by default as far as the shorter of the two goes.

    Raises `SteerError` for curves of different pairs.
    """
    if ours.value.shape[1] != theirs.value.shape[1]:
        raise SteerError(
            f"one curve is of {ours.value.shape[1]} pairs and the other of {theirs.value.shape[1]}"
        )
    end = upto if upto is not None else min(_reach(ours, axis), _reach(theirs, axis))
    return interval(ours.areas(axis, end) - theirs.areas(axis, end), seed=seed)


def default_counts(most: int, points: int = 24) -> tuple[int, ...]:
    """0, 1, 2, ... and then in even ratios up to `most`."""
    if most < 1:
        return (0,)
    ratios = torch.logspace(0, torch.tensor(float(most)).log10().item(), points, dtype=torch.double)
    return tuple(sorted({0, most, *(round(count) for count in ratios.tolist())}))


def _reach(curve: Curve, axis: str) -> float:
    return float(max(curve.counts)) if axis == "count" else curve.norm.amax(0).min().item()


def _height(x: Tensor, y: Tensor, end: float) -> Tensor:
    """Mean of the polygon through (x, y) [points] over 0 to end."""
    order = x.argsort(stable=True)
    x, y = x[order], y[order]
    inside = x < end
    right = int(inside.sum())
    last = y[-1] if right == len(x) else _between(x, y, right, end)
    x = torch.cat([x[inside], x.new_full((1,), end)])
    y = torch.cat([y[inside], last.view(1)])
    if x[0] > 0:
        x, y = torch.cat([x.new_zeros(1), x]), torch.cat([y[:1], y])
    return torch.trapezoid(y, x) / end


def _between(x: Tensor, y: Tensor, right: int, at: float) -> Tensor:
    if right == 0:
        return y[0]
    left = right - 1
    share = (at - x[left]) / (x[right] - x[left])
    return torch.lerp(y[left], y[right], share)


def _finite(area: Interval) -> dict[str, Any]:
    shown = {"mean": area.mean, "low": area.low, "high": area.high}
    return {name: None if value != value else value for name, value in shown.items()}
