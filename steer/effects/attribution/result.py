"""What an attribution found, and how far it agrees with the exact effects."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from dictionaries.extras import need
from steer.effects.sweep.result import Sweep
from steer.errors import SteerError
from steer.maths.statistics import Interval, bootstrap, interval
from steer.shown import Shown, measured

if TYPE_CHECKING:
    import pandas

    from steer.figures.style import Figure


@dataclass(frozen=True)
class Completeness:
    """Sums over a prompt's nodes against the true change of the metric.

    features, error: sums of their nodes; change: the metric with everything patched, minus clean.
    """

    prompt: int
    features: float
    error: float
    change: float

    @property
    def gap(self) -> float:
        """|sum − change| / |change|; NaN where the change is 0 to rounding."""
        if abs(self.change) < 1e-9:
            return float("nan")
        return abs(self.features + self.error - self.change) / abs(self.change)


@dataclass(frozen=True, eq=False, repr=False)
class Attribution(Shown):
    """Estimated effects, patched minus clean. values: one [s, width] a prompt.

    error: what became of what the dictionary does not explain: kept while features are patched, and
        a node of its own, whose share is in `completeness`.
    """

    values: tuple[Tensor, ...]
    completeness: tuple[Completeness, ...]
    prompts: tuple[str, ...]
    dictionary: str
    metric: str
    method: str
    dtype: str
    error: str = "keep"

    def _title(self) -> str:
        return (
            f"Attribution by {self.method}: estimated change of {measured(self.metric)} by "
            f"each feature of {self.dictionary} on {len(self.prompts)} prompts, {self.dtype}"
        )

    def plot(self, top: int = 20, exact: Sweep | None = None) -> Figure:
        """The largest estimates; with a sweep of the same prompts, against its exact effects.

        Raises `MissingExtraError` without plotly.
        """
        need("plotly")
        from steer.figures.effects import agreement_scatter, attribution_bars

        return attribution_bars(self, top) if exact is None else agreement_scatter(self, exact)

    def matrix(self) -> Tensor:
        """Summed over positions: [width, prompts]."""
        return torch.stack([value.double().sum(0) for value in self.values], dim=1)

    def to_frame(
        self, top: int | None = None, *, level: float = 0.95, seed: int = 0
    ) -> pandas.DataFrame:
        """One row a feature with any effect, the largest first: mean over prompts, and interval."""
        import pandas

        effects = self.matrix()
        order = effects.mean(1).abs().argsort(descending=True, stable=True)
        order = order[effects[order].abs().sum(1) > 0][:top]
        low, high = bootstrap(effects[order], level=level, seed=seed)
        columns = {"feature": order, "effect": effects[order].mean(1), "low": low, "high": high}
        return pandas.DataFrame({name: column.tolist() for name, column in columns.items()})

    def to_dict(self, top: int | None = None) -> dict[str, Any]:
        """Plain data, for JSON: NaN becomes None."""
        frame = self.to_frame(top)
        records = frame.astype(object).where(frame.notna(), None).to_dict("records")
        return {
            "dictionary": self.dictionary,
            "metric": self.metric,
            "method": self.method,
            "dtype": self.dtype,
            "error": self.error,
            "prompts": list(self.prompts),
            "completeness": [
                asdict(c) | {"gap": None if c.gap != c.gap else c.gap} for c in self.completeness
            ],
            "features": records,
        }


@dataclass(frozen=True)
class Agreement:
    """How far an estimate agrees with exact effects of the same features.

    Correlations and overlap are computed within each prompt, over the features that act there,
    and given as means over the prompts with intervals.
    overlap: share of the k features with the largest exact effect that are among the k largest
        estimates; sign: share of estimates with the exact effect's sign.
    """

    estimate: str
    pearson: Interval
    spearman: Interval
    overlap: Interval
    sign: Interval
    k: int

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for JSON: NaN becomes None."""
        return {
            key: {k: None if v != v else v for k, v in value.items()}
            if isinstance(value, dict)
            else value
            for key, value in asdict(self).items()
        }


def compare(estimate: Attribution | str, sweep: Sweep, *, k: int = 10, seed: int = 0) -> Agreement:
    """An attribution, or a column of the sweep such as `activation` (then against |effect|).

    Raises `SteerError` if they are of other prompts, or the sweep has fewer than two features on
    every prompt.
    """
    if isinstance(estimate, Attribution) and estimate.prompts != sweep.prompts:
        raise SteerError("the attribution and the sweep are of different prompts")
    agreement: dict[str, list[float]] = {"pearson": [], "spearman": [], "overlap": [], "sign": []}
    for number in range(len(sweep.prompts)):
        rows = [row for row in sweep.rows if row["prompt"] == number]
        if len(rows) < 2:
            continue
        exact = torch.tensor([row["effect"] for row in rows], dtype=torch.float64)
        if isinstance(estimate, str):
            guess = torch.tensor([float(row[estimate]) for row in rows], dtype=torch.float64)
            exact = exact.abs()
        else:
            totals = estimate.values[number].double().sum(0)
            guess = totals[[row["feature"] for row in rows]]
        agreement["pearson"].append(pearson(guess, exact))
        agreement["spearman"].append(pearson(ranks(guess), ranks(exact)))
        agreement["overlap"].append(_overlap(guess, exact, k))
        agreement["sign"].append((guess.sign() == exact.sign()).double().mean().item())
    if not agreement["pearson"]:
        raise SteerError("no prompt of the sweep has two features to compare")
    return Agreement(
        estimate=estimate if isinstance(estimate, str) else estimate.method,
        k=k,
        **{name: interval(torch.tensor(v), seed=seed) for name, v in agreement.items()},
    )


def pearson(a: Tensor, b: Tensor) -> float:
    """Correlation of a [n] and b [n]; 0 where one of them does not vary."""
    a, b = a - a.mean(), b - b.mean()
    scale = (a.norm() * b.norm()).item()
    return (a @ b).item() / scale if scale else 0.0


def ranks(values: Tensor) -> Tensor:
    """Ranks [n], the mean rank where values are equal."""
    _, index, counts = values.unique(return_inverse=True, return_counts=True)
    upper = counts.cumsum(0).double()
    return (upper - (counts.double() - 1) / 2)[index]


def _overlap(guess: Tensor, exact: Tensor, k: int) -> float:
    count = min(k, len(exact))
    ours, theirs = (set(v.abs().topk(count).indices.tolist()) for v in (guess, exact))
    return len(ours & theirs) / count
