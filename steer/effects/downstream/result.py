"""Which later features an edit changed, and by how much: per token, per feature, as tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from dictionaries.extras import need
from steer.effects.controls.compared import columns as compared
from steer.effects.controls.compared import said
from steer.effects.controls.matching import Matched
from steer.maths.statistics import benjamini_hochberg, bootstrap, exceeds, sign_flip
from steer.shown import Shown

if TYPE_CHECKING:
    import pandas

    from steer.figures.style import Figure


@dataclass(frozen=True, eq=False)
class Changed:
    """The features of one prompt of s tokens that change at any counted token.

    tokens [s]: their texts. features [k]: ids. counted [s]: whether the token counts.
    before, after [s, k]: activations in the clean and in the edited run.
    controls [draws, width]: by kind, the mean change over the counted tokens of every feature under
        controls of the edit's size.
    """

    tokens: tuple[str, ...]
    counted: Tensor
    features: Tensor
    before: Tensor
    after: Tensor
    controls: Mapping[str, Tensor] = field(default_factory=dict)

    @property
    def change(self) -> Tensor:
        """Edited minus clean at each token, [s, k]; also at tokens that do not count."""
        return self.after - self.before


@dataclass(frozen=True, eq=False, repr=False)
class Downstream(Shown):
    """Changes of a later dictionary's features under an intervention, edited minus clean.

    prompts: one `Changed` each. intervention: as JSON. at: which tokens count.
    matched: the features of the matched controls, None if there are none.
    shard: such as `2/3` where only a part of the prompts was run, which these are.
    """

    changed: tuple[Changed, ...]
    prompts: tuple[str, ...]
    dictionary: str
    intervention: str
    at: str
    dtype: str
    matched: Matched | None = None
    shard: str = ""

    _columns: ClassVar = (
        "feature",
        "before",
        "after",
        "change",
        "low",
        "high",
        "significant",
        "token",
    )

    def __repr__(self) -> str:
        return super().__repr__() if self.changed else self._title()

    def _title(self) -> str:
        part = f"shard {self.shard} of a " if self.shard else ""
        return (
            f"{part}Downstream: {len(self.features):,} features of {self.dictionary} change at "
            f"tokens {self.at} of {len(self.prompts)} prompts"
        )

    def plot(self, top: int = 20) -> Figure:
        """The features that change most, before their controls."""
        need("plotly")
        from steer.figures.effects import downstream_bars

        return downstream_bars(self, top)

    @property
    def features(self) -> list[int]:
        """Ids of all features that change on any prompt."""
        return sorted({f for prompt in self.changed for f in prompt.features.tolist()})

    def matrix(self, column: str = "change") -> Tensor:
        """`before`, `after` or `change`, the mean over the counted tokens, [features, prompts]."""
        place = {feature: number for number, feature in enumerate(self.features)}
        values = torch.zeros(len(place), len(self.changed), dtype=torch.float64)
        for number, prompt in enumerate(self.changed):
            index = [place[feature] for feature in prompt.features.tolist()]
            values[index, number] = getattr(prompt, column)[prompt.counted].double().mean(0).cpu()
        return values

    def control_matrices(self) -> dict[str, Tensor]:
        """Mean changes under controls, by kind, [features, prompts, draws]."""
        matrices = {}
        for kind in self._kinds:
            values = [changed.controls[kind][:, self.features] for changed in self.changed]
            matrices[kind] = torch.stack(values).double().permute(2, 0, 1)
        return matrices

    def overall(self, *, level: float = 0.95, seed: int = 0) -> pandas.DataFrame:
        """One row for the edit and one a kind of control.

        features: how many change, the mean over prompts and draws; change: the sum over them of the
        |mean change| over the counted tokens, the mean over prompts and draws; low, high: its
        interval over prompts; p: that the edit's is no larger than the control's.
        """
        import pandas

        edit = self.matrix()
        rows = {"edit": edit.T.unsqueeze(1)}
        rows |= {
            k: torch.stack([c.controls[k] for c in self.changed]).double() for k in self._kinds
        }
        size = {name: values.abs().sum(2) for name, values in rows.items()}
        records = []
        for name, values in rows.items():
            low, high = bootstrap(size[name].mean(1), level=level, seed=seed)
            p = exceeds(size["edit"].T, size[name].unsqueeze(0)).item() if name != "edit" else None
            count = (values != 0).sum(2).double().mean().item()
            bounds = {"low": low.item(), "high": high.item(), "p": p}
            records.append(
                {"of": name, "features": count, "change": size[name].mean().item(), **bounds}
            )
        return pandas.DataFrame(records)

    def to_frame(
        self, *, level: float = 0.95, seed: int = 0, rate: float = 0.05
    ) -> pandas.DataFrame:
        """One row a feature, the largest change first.

        before, after: mean activation over counted tokens and over the prompts where it changes.
        change: mean over counted tokens and all prompts, 0 where it does not change; low, high:
            its bootstrap interval over prompts; p: sign-flip test that it is 0; q:
            Benjamini-Hochberg over the features; prompts: on how many it changes.
        random, matched, and p_, q_ of each, and significant: under controls, if there are any, see
            `steer.effects.controls.compared.columns`.
        token, position, peak: where it changes most on any prompt, and by how much there.
        """
        import pandas

        change = self.matrix()
        acting = self._acting()
        low, high = bootstrap(change, level=level, seed=seed)
        p = sign_flip(change, seed=seed)
        on = acting.sum(1)
        columns = {
            "before": self.matrix("before").sum(1) / on,
            "after": self.matrix("after").sum(1) / on,
            "change": change.mean(1),
            "low": low,
            "high": high,
            "p": p,
            "q": benjamini_hochberg(p),
            "prompts": on,
            **compared(change, self.control_matrices(), rate),
        }
        frame = pandas.DataFrame({name: value.tolist() for name, value in columns.items()})
        frame.insert(0, "feature", self.features)
        frame = frame.assign(**self._peaks())
        order = frame["change"].abs().sort_values(ascending=False, kind="stable").index
        return frame.loc[order].reset_index(drop=True)

    def top(self, k: int = 10) -> list[tuple[int, float]]:
        """The k features that change most: (feature, mean change)."""
        frame = self.to_frame().head(k)
        return list(zip(frame["feature"].tolist(), frame["change"].tolist(), strict=True))

    def to_rows(self) -> pandas.DataFrame:
        """One row a prompt, token and feature that changes there, in the order of the text."""
        import pandas

        rows: list[dict[str, Any]] = []
        for number, prompt in enumerate(self.changed):
            for place, column in prompt.change.nonzero().tolist():
                rows.append(
                    {
                        "prompt": number,
                        "position": place,
                        "token": prompt.tokens[place],
                        "feature": int(prompt.features[column]),
                        "before": prompt.before[place, column].item(),
                        "after": prompt.after[place, column].item(),
                        "change": prompt.change[place, column].item(),
                    }
                )
        columns = ["prompt", "position", "token", "feature", "before", "after", "change"]
        return pandas.DataFrame(rows, columns=columns)

    def to_dict(self, top: int | None = None) -> dict[str, Any]:
        """Plain data, for JSON: NaN bounds become None."""
        frame = self.to_frame().head(top) if top else self.to_frame()
        return {
            "dictionary": self.dictionary,
            "intervention": self.intervention,
            "at": self.at,
            "dtype": self.dtype,
            "prompts": list(self.prompts),
            "changed": len(self.features),
            "overall": [_plain(row) for row in self.overall().to_dict("records")],
            "matched": said(self.matched),
            "features": frame.astype(object).where(frame.notna(), None).to_dict("records"),
        }

    @property
    def _kinds(self) -> list[str]:
        return list(self.changed[0].controls)

    def _acting(self) -> Tensor:
        place = {feature: number for number, feature in enumerate(self.features)}
        acting = torch.zeros(len(place), len(self.changed), dtype=torch.bool)
        for number, prompt in enumerate(self.changed):
            acting[[place[feature] for feature in prompt.features.tolist()], number] = True
        return acting

    def _peaks(self) -> dict[str, list[Any]]:
        """The token, position and size of each feature's largest change."""
        best: dict[int, tuple[float, int, str]] = {}
        for prompt in self.changed:
            sizes = torch.where(prompt.counted.unsqueeze(1), prompt.change, 0.0)
            places = sizes.abs().argmax(0).tolist()
            for column, (feature, place) in enumerate(
                zip(prompt.features.tolist(), places, strict=True)
            ):
                size = sizes[place, column].item()
                if abs(size) > abs(best.get(feature, (0.0, 0, ""))[0]):
                    best[feature] = size, place, prompt.tokens[place]
        peaks = [best[feature] for feature in self.features]
        return {
            "token": [token for _, _, token in peaks],
            "position": [place for _, place, _ in peaks],
            "peak": [size for size, _, _ in peaks],
        }


def _plain(row: Mapping[Any, Any]) -> dict[str, Any]:
    return {str(name): None if value != value else value for name, value in row.items()}
