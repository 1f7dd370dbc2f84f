"""What a sweep found, as rows and as tables with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from dictionaries.extras import need
from steer.maths.statistics import benjamini_hochberg, bootstrap, exceeds, sign_flip
from steer.shown import Shown, at, measured

if TYPE_CHECKING:
    import pandas

    from steer.figures.style import Figure


@dataclass(frozen=True)
class Screened:
    """How a screen chose the features that were run, see `steer.effects.sweep.screen`.

    run, left_out: how many features. cost: of running all, the share that was paid, estimates
    included. sure: it ended since none of the rest could be among the top, not by its cost.
    """

    top: int
    run: int
    left_out: int
    cost: float
    sure: bool

    def __str__(self) -> str:
        why = "none of the rest could be" if self.sure else "as far as the cost allowed"
        return (
            f"screened for the top {self.top}: {self.run:,} features run exactly, {why}; "
            f"{self.left_out:,} left out, {self.cost:.0%} of the cost of all"
        )


@dataclass(frozen=True, eq=False, repr=False)
class Sweep(Shown):
    """Effects of edits of single features, edited minus clean.

    rows: one a prompt and feature that acts there: effect, activation (its largest at the tokens
        that are changed), tokens (how many those are), norm (‖Δx‖ over the prompt). Where a feature
        has no row for a prompt it is silent there, and its effect is exactly 0.
    controls: one a prompt, tested feature and draw: the effect of a control of its size. Of matched
        ones also the control's feature (`like`) and density (`like_density`), and the tested
        feature's (`density`).
    error: what became of what the dictionary does not explain, `keep` unless nodes are patched.
    shard: such as `2/3` where these are the rows of a part of the work alone, which say nothing of
        means; empty for all.
    screened: how the features were chosen, if by a screen. A feature without rows was then left out
        or is silent; those left out count as p = 1 where many tests are corrected for.
    remote: the server that ran the edited passes, or `local` if that was rehearsed; empty if none.
    """

    rows: tuple[dict[str, Any], ...]
    prompts: tuple[str, ...]
    dictionary: str
    metric: str
    edit: str
    dtype: str
    controls: tuple[dict[str, Any], ...] = ()
    error: str = "keep"
    shard: str = ""
    screened: Screened | None = None
    remote: str = ""

    _columns: ClassVar = (
        "feature",
        "effect",
        "low",
        "high",
        "active",
        "control",
        "q_control",
        "significant",
    )

    def _title(self) -> str:
        part = f"shard {self.shard} of a " if self.shard else ""
        features = f"{len(self.features):,} features of {self.dictionary}"
        return (
            f"{part}Sweep: {self.edit} each of {features} on "
            f"{len(self.prompts)} prompts, change of {measured(self.metric)}, {self.dtype}, "
            f"error {self.error}"
            + (f"; {self.screened}" if self.screened else "")
            + at(self.remote)
        )

    def plot(self, top: int = 20) -> Figure:
        """The largest effects with their intervals, before their controls."""
        need("plotly")
        from steer.figures.effects import effect_bars

        return effect_bars(self, top)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def features(self) -> list[int]:
        """The features that act on any prompt."""
        return sorted({row["feature"] for row in self.rows})

    def matrix(self, column: str = "effect") -> Tensor:
        """A column as [features, prompts], 0 where the feature is silent."""
        place = {feature: number for number, feature in enumerate(self.features)}
        values = torch.zeros(len(place), len(self.prompts), dtype=torch.float64)
        for row in self.rows:
            values[place[row["feature"]], row["prompt"]] = row[column]
        return values

    def largest(self, count: int) -> list[int]:
        """The features with the largest mean |effect|."""
        order = self.matrix().abs().mean(1).argsort(descending=True, stable=True)
        return [self.features[i] for i in order[:count].tolist()]

    def control_matrix(self, features: Sequence[int]) -> Tensor:
        """Effects of the controls, [features, prompts, draws]; 0 where the feature is silent."""
        place = {feature: number for number, feature in enumerate(features)}
        draws = 1 + max((row["draw"] for row in self.controls), default=-1)
        values = torch.zeros(len(place), len(self.prompts), draws, dtype=torch.float64)
        for row in self.controls:
            if row["feature"] in place:
                values[place[row["feature"]], row["prompt"], row["draw"]] = row["control"]
        return values

    def to_rows(self) -> pandas.DataFrame:
        """One row a prompt and feature; `per_norm` is the effect per unit of ‖Δx‖."""
        import pandas

        columns = ["prompt", "feature", "effect", "activation", "tokens", "norm"]
        frame = pandas.DataFrame(list(self.rows), columns=columns)
        return frame.assign(per_norm=frame["effect"] / frame["norm"].clip(lower=1e-12))

    def to_frame(
        self, *, level: float = 0.95, seed: int = 0, rate: float = 0.05
    ) -> pandas.DataFrame:
        """One row a feature, the largest effect first.

        effect: mean over all prompts, silent ones counted as 0; low, high: its bootstrap interval
        over prompts; p: sign-flip test that it is 0; q: Benjamini-Hochberg over the features;
        active: on how many prompts it acts; per_norm: mean effect over mean ‖Δx‖.
        Where there are controls: control: their mean |effect|; p_control, q_control: that the
        feature's is no larger (see `exceeds`); significant: q_control is at most `rate`, the share
        of such features that are expected to be there by chance. Where those are matched: density,
        the feature's own, and control_density with the lowest and highest, its controls'.
        """
        import pandas

        effects, norms = self.matrix(), self.matrix("norm")
        low, high = bootstrap(effects, level=level, seed=seed)
        p = sign_flip(effects, seed=seed)
        columns = {
            "effect": effects.mean(1),
            "low": low,
            "high": high,
            "p": p,
            "q": self._corrected(p),
            "active": (norms > 0).sum(1),
            "activation": self.matrix("activation").amax(1) if len(self.rows) else effects.sum(1),
            "norm": norms.mean(1),
            "per_norm": effects.mean(1) / norms.mean(1).clamp(min=1e-12),
        }
        if self.controls:
            columns |= self._compared(effects, rate)
        frame = pandas.DataFrame({name: value.tolist() for name, value in columns.items()})
        frame.insert(0, "feature", self.features)
        order = frame["effect"].abs().sort_values(ascending=False, kind="stable").index
        return frame.loc[order].reset_index(drop=True)

    def _corrected(self, p: Tensor) -> Tensor:
        """Benjamini-Hochberg of p [features], those that a screen left out counted in."""
        left_out = self.screened.left_out if self.screened else 0
        return benjamini_hochberg(torch.cat([p, p.new_ones(left_out)]))[: len(p)]

    def _compared(self, effects: Tensor, rate: float) -> dict[str, Tensor]:
        tested = {row["feature"] for row in self.controls}
        controls = self.control_matrix(self.features)
        was = torch.tensor([feature in tested for feature in self.features])
        p = torch.where(was, exceeds(effects, controls), 1.0)
        q = self._corrected(p)
        size = torch.where(was, controls.abs().mean((1, 2)), torch.nan)
        columns = {"control": size, "p_control": p, "q_control": q, "significant": q <= rate}
        return columns | self._densities()

    def _densities(self) -> dict[str, Tensor]:
        """How dense the features and their matched controls are; nothing for other controls."""
        own: dict[int, float] = {}
        likes: dict[int, list[float]] = {feature: [] for feature in self.features}
        for row in self.controls:
            if "like" in row:
                own[row["feature"]] = row["density"]
                likes[row["feature"]].append(row["like_density"])
        if not own:
            return {}
        unknown = [torch.nan]
        near = [torch.tensor(like or unknown, dtype=torch.float64) for like in likes.values()]
        return {
            "density": torch.tensor([own.get(feature, torch.nan) for feature in self.features]),
            "control_density": torch.stack([densities.mean() for densities in near]),
            "control_density_low": torch.stack([densities.min() for densities in near]),
            "control_density_high": torch.stack([densities.max() for densities in near]),
        }

    def to_dict(self, top: int | None = None) -> dict[str, Any]:
        """Plain data, for JSON: NaN bounds become None."""
        frame = self.to_frame().head(top) if top else self.to_frame()
        records = frame.astype(object).where(frame.notna(), None).to_dict("records")
        return {
            "dictionary": self.dictionary,
            "metric": self.metric,
            "edit": self.edit,
            "error": self.error,
            "dtype": self.dtype,
            "prompts": list(self.prompts),
            **({"screened": asdict(self.screened)} if self.screened else {}),
            **({"remote": self.remote} if self.remote else {}),
            "features": records,
        }


@dataclass(frozen=True, eq=False, repr=False)
class PairSweep(Shown):
    """Interactions of pairs of features.

    rows: one a prompt and pair: joint effect, sum of the two alone, and their difference.
    error: what became of what the dictionary does not explain. remote: as of a `Sweep`.
    """

    rows: tuple[dict[str, Any], ...]
    prompts: tuple[str, ...]
    dictionary: str
    metric: str
    error: str = "keep"
    shard: str = ""
    remote: str = ""

    def _title(self) -> str:
        part = f"shard {self.shard} of a " if self.shard else ""
        pairs = f"{len(self.frame)} pairs of features of {self.dictionary}"
        return f"{part}PairSweep: {pairs}, {measured(self.metric)}{at(self.remote)}"

    def to_frame(self, *, level: float = 0.95, seed: int = 0) -> pandas.DataFrame:
        """One row a pair, with means over prompts and the interval of the interaction."""
        import pandas

        columns = ["prompt", "feature", "other", "joint", "sum", "interaction"]
        frame = pandas.DataFrame(list(self.rows), columns=columns)
        rows = []
        for (feature, other), group in frame.groupby(["feature", "other"], sort=False):
            values = torch.tensor(group["interaction"].to_numpy())
            low, high = bootstrap(values, level=level, seed=seed)
            means = group[["joint", "sum", "interaction"]].mean().to_dict()
            bounds = {"low": low.item(), "high": high.item()}
            rows.append({"feature": feature, "other": other, **means, **bounds})
        table = pandas.DataFrame(rows, columns=[*columns[1:], "low", "high"])
        order = table["interaction"].abs().sort_values(ascending=False, kind="stable").index
        return table.loc[order].reset_index(drop=True)
