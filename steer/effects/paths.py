"""By which paths an edit reaches the logits: its total effect, and with parts of the model frozen.

Frozen parts do in the edited run what they did in the clean one:

    patterns    every head attends as in the clean run: queries and keys are the clean run's, and
                values may change
    attention   what attention adds to the residual stream, in every block behind the edit
    mlp         what MLPs add to it, in every block behind the edit
    norm        the scale of the final norm

With attention, MLPs and norm frozen, only the residual stream carries the edit: its direct effect,
which is linear (`steer.effects.direct_effect`). The total effect minus the direct one went through
later blocks and the norm. Effects with different parts frozen need not add up.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from dictionaries.base import Dictionary
from steer import engine_paths
from steer.edits import Intervention
from steer.effects.clean import Clean
from steer.effects.direct import final_norm
from steer.effects.direct_effect import TokenChange, check_residual, depth, top_tokens
from steer.effects.edited import edited_prompts, written_site
from steer.effects.frozen_norm import FrozenNorm
from steer.effects.metric import Metric, Reference, as_metrics
from steer.effects.statistics import interval
from steer.errors import SteerError
from steer.hookpoints import Hookpoint, Site, locate
from steer.precision import exact

if TYPE_CHECKING:
    import pandas

    from steer.model import Model


@dataclass(frozen=True)
class Freeze:
    """Which parts are frozen at the clean run."""

    patterns: bool = False
    attention: bool = False
    mlp: bool = False
    norm: bool = False


TOTAL = Freeze()
DIRECT = Freeze(attention=True, mlp=True, norm=True)
PATHS: Mapping[str, Freeze] = {
    "total": TOTAL,
    "patterns frozen": Freeze(patterns=True),
    "attention frozen": Freeze(attention=True),
    "MLPs frozen": Freeze(mlp=True),
    "norm frozen": Freeze(norm=True),
    "direct": DIRECT,
}


@dataclass(frozen=True, eq=False)
class PathEffects:
    """An edit's effect on the last token of n prompts by each path, edited minus clean.

    logits: by name, [n, V]; effect: by name, the metric's change [n]. `total`, `direct` and
    `between`, total minus direct, are always there.
    error: the intervention's policy for what the dictionary does not explain.
    """

    logits: dict[str, Tensor]
    effect: dict[str, Tensor]
    metric: str
    prompts: tuple[str, ...]
    paths: dict[str, Freeze]
    model: Model
    error: str

    def to_frame(self, *, level: float = 0.95, seed: int = 0) -> pandas.DataFrame:
        """One row a path: the metric's change with its interval over prompts.

        likeness: cosine of its centred Δ logits with those of the total effect, mean over prompts.
        """
        import pandas

        total = self.logits["total"]
        rows = []
        for name, values in self.effect.items():
            found = interval(values, level=level, seed=seed)
            like = _cosine(self.logits[name], total).mean().item()
            bounds = {"effect": found.mean, "low": found.low, "high": found.high}
            rows.append({"path": name, **bounds, "likeness": like})
        return pandas.DataFrame(rows)

    @property
    def frame(self) -> pandas.DataFrame:
        """`to_frame()` with its defaults."""
        return self.to_frame()

    def promoted(self, path: str = "direct", k: int = 10) -> tuple[TokenChange, ...]:
        """The tokens whose logits a path raises most, mean over prompts."""
        return top_tokens(self.model, self.logits[path], k)

    def suppressed(self, path: str = "direct", k: int = 10) -> tuple[TokenChange, ...]:
        """The tokens whose logits a path lowers most, mean over prompts."""
        return top_tokens(self.model, self.logits[path], k, sign=-1)

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for JSON: NaN bounds become None."""
        frame = self.to_frame()
        return {
            "metric": self.metric,
            "error": self.error,
            "prompts": list(self.prompts),
            "frozen": {name: asdict(freeze) for name, freeze in self.paths.items()},
            "paths": frame.astype(object).where(frame.notna(), None).to_dict("records"),
        }


def path_effects(
    model: Model,
    prompts: Sequence[str] | str,
    intervention: Intervention,
    paths: Mapping[str, Freeze] = PATHS,
    *,
    metric: Metric | str | Sequence[Metric] = "kl",
    dictionaries: Sequence[Dictionary] = (),
) -> PathEffects:
    """The effect of an intervention with each choice of frozen parts, on the last token.

    paths: names and what is frozen; the total and the direct effect are always measured.
    metric: of the last position. A logit difference makes effects of paths comparable; `between`
        of a metric is the difference of its changes.

    Raises `InterventionError` for an edit that is not of the residual stream, `ModelError` for
    patterns that can't be frozen in this model, `SteerError` for a metric of all positions, and
    what `edited_prompts` raises.
    """
    texts = (prompts,) if isinstance(prompts, str) else tuple(prompts)
    measures = as_metrics(model, metric, len(texts))
    if any(measure.every for measure in measures):
        raise SteerError("paths are measured at the last token; use kl, or a LogitDifference")
    site = written_site(model, intervention, dictionaries, len(texts))
    check_residual(site)
    chosen = {"total": TOTAL, **paths, "direct": DIRECT}
    logits: dict[str, list[Tensor]] = {name: [] for name in [*chosen, "between"]}
    effect: dict[str, list[float]] = {name: [] for name in logits}
    for edited in edited_prompts(model, texts, intervention, dictionaries):
        measure = measures[edited.number]
        for name, freeze in chosen.items():
            clean, changed = frozen_logits(edited.clean, edited.delta, site, freeze)
            logits[name].append(exact(changed) - exact(clean))
            none = torch.full((1,), -1, device=clean.device)
            reference = Reference(exact(clean).unsqueeze(0), none, edited.clean.length)
            with torch.inference_mode():
                effect[name].append(measure.change(changed.view(1, 1, -1), reference).item())
        logits["between"].append(logits["total"][-1] - logits["direct"][-1])
        effect["between"].append(effect["total"][-1] - effect["direct"][-1])
    return PathEffects(
        logits={name: torch.stack(values) for name, values in logits.items()},
        effect={n: torch.tensor(values, dtype=torch.float64) for n, values in effect.items()},
        metric=type(measures[0]).__name__,
        prompts=texts,
        paths=chosen,
        model=model,
        error=intervention.error,
    )


def frozen_logits(clean: Clean, delta: Tensor, site: Site, freeze: Freeze) -> tuple[Tensor, Tensor]:
    """Last logits [V], clean and with delta [s, d] added at the site while parts are frozen."""
    model = clean.model
    start = clean.start(torch.stack([torch.zeros_like(delta), delta]))
    norm = (norm_path(model), _slope(FrozenNorm.of(model))) if freeze.norm else None
    attends = clean.first < depth(model)
    patterns = engine_paths.frozen_patterns(model.module) if freeze.patterns and attends else None
    with model.lock, patterns or nullcontext():
        logits = engine_paths.held(model.nn, start, held_sites(model, site, freeze), norm)
    return logits[0, -1], logits[1, -1]


def held_sites(model: Model, site: Site, freeze: Freeze) -> list[Site]:
    """Where attention and MLPs behind the site write, in the order of the forward pass."""
    kinds = [("attn_out", freeze.attention), ("mlp_out", freeze.mlp)]
    points = [
        Hookpoint(layer, kind)
        for layer in range(site.hookpoint.layer, depth(model))
        for kind, frozen in kinds
        if frozen
    ]
    return [locate(model.module, p) for p in points if p.order > site.hookpoint.order]


def norm_path(model: Model) -> str:
    """Path of the final norm in the model."""
    wanted = final_norm(model)
    return next(path for path, module in model.module.named_modules() if module is wanted)


def _slope(norm: FrozenNorm) -> engine_paths.Slope:
    def slope(change: Tensor, clean: Tensor) -> Tensor:
        return norm.slope(change, norm.scale(clean)).to(change.dtype)

    return slope


def _cosine(a: Tensor, b: Tensor) -> Tensor:
    """Of centred rows [n, V], [n]; 0 where one of them is 0."""
    a, b = a - a.mean(-1, keepdim=True), b - b.mean(-1, keepdim=True)
    return (a * b).sum(-1) / (a.norm(dim=-1) * b.norm(dim=-1)).clamp(min=1e-30)
