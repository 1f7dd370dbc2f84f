"""What an edit did by each path: per prompt, per token, as a table."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from dictionaries.extras import need
from steer.effects.controls.compared import columns, said
from steer.effects.controls.matching import Matched
from steer.effects.paths.direct import TokenChange, top_tokens
from steer.effects.paths.freeze import Freeze
from steer.maths.statistics import interval
from steer.model import Model
from steer.shown import Shown, measured

if TYPE_CHECKING:
    import pandas

    from steer.figures.style import Figure


@dataclass(frozen=True, eq=False, repr=False)
class PathEffects(Shown):
    """An edit's effect on the last token of n prompts by each path, edited minus clean.

    logits: by name, [n, V]; effect: by name, the metric's change [n]. `total`, `direct` and
    `between`, total minus direct, are always there.
    error: the intervention's policy for what the dictionary does not explain.
    controls: by kind and path, [n, draws]: the metric's change under controls of the edit's size.
    control_logits: by kind and path, [V]: the mean |change| of the logits under them.
    matched: the features of the matched controls, None if there are none.
    """

    logits: dict[str, Tensor]
    effect: dict[str, Tensor]
    metric: str
    prompts: tuple[str, ...]
    paths: dict[str, Freeze]
    model: Model
    error: str
    controls: dict[str, dict[str, Tensor]]
    control_logits: dict[str, dict[str, Tensor]]
    matched: Matched | None

    _columns: ClassVar = ("path", "effect", "low", "high", "random", "matched", "likeness")

    def _title(self) -> str:
        return (
            f"PathEffects on {len(self.prompts)} prompts: change of {measured(self.metric)} by "
            f"path, {self.model.precision}, error {self.error}"
        )

    def plot(self) -> Figure:
        """The effect by every path, before that of controls."""
        need("plotly")
        from steer.figures.effects import path_bars

        return path_bars(self)

    def to_frame(
        self, *, level: float = 0.95, seed: int = 0, rate: float = 0.05
    ) -> pandas.DataFrame:
        """One row a path: the metric's change with its interval over prompts.

        likeness: cosine of its centred Δ logits with those of the total effect, mean over prompts.
        random, matched, and p_, q_ of each, and significant: under controls, if there are any, see
            `steer.effects.controls.compared.columns`.
        """
        import pandas

        total = self.logits["total"]
        controls = {
            kind: torch.stack([paths[name] for name in self.effect])
            for kind, paths in self.controls.items()
        }
        against = columns(torch.stack(list(self.effect.values())), controls, rate)
        rows = []
        for name, values in self.effect.items():
            bounded = interval(values, level=level, seed=seed)
            like = _cosine(self.logits[name], total).mean().item()
            bounds = {"effect": bounded.mean, "low": bounded.low, "high": bounded.high}
            rows.append({"path": name, **bounds, "likeness": like})
        compared = {name: values.tolist() for name, values in against.items()}
        return pandas.DataFrame(rows).assign(**compared)

    def promoted(self, path: str = "direct", k: int = 10) -> tuple[TokenChange, ...]:
        """The tokens whose logits a path raises most, mean over prompts."""
        return top_tokens(self.model, self.logits[path], k, controls=self._sizes(path))

    def suppressed(self, path: str = "direct", k: int = 10) -> tuple[TokenChange, ...]:
        """The tokens whose logits a path lowers most, mean over prompts."""
        return top_tokens(self.model, self.logits[path], k, -1, controls=self._sizes(path))

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for JSON: NaN bounds become None."""
        frame = self.to_frame()
        return {
            "metric": self.metric,
            "dtype": self.model.precision,
            "error": self.error,
            "prompts": list(self.prompts),
            "matched": said(self.matched),
            "frozen": {name: asdict(freeze) for name, freeze in self.paths.items()},
            "paths": frame.astype(object).where(frame.notna(), None).to_dict("records"),
        }

    def _sizes(self, path: str) -> dict[str, Tensor]:
        return {kind: paths[path] for kind, paths in self.control_logits.items()}


def _cosine(a: Tensor, b: Tensor) -> Tensor:
    """Of centred rows [n, V], [n]; 0 where one of them is 0."""
    a, b = a - a.mean(-1, keepdim=True), b - b.mean(-1, keepdim=True)
    return (a * b).sum(-1) / (a.norm(dim=-1) * b.norm(dim=-1)).clamp(min=1e-30)
