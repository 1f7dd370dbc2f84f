"""By which paths an edit reaches the logits: its total effect, and with parts of the model frozen.

The total effect minus the direct one went through later blocks and the norm. Effects with
different parts frozen need not add up. What can be frozen is in `steer.effects.paths.freeze`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dictionaries.dictionary import Dictionary
from steer.edits import Intervention
from steer.effects.controls.compared import Equals, by_kind, parts
from steer.effects.controls.trials import Trial
from steer.effects.metric import Metric, Reference, as_metrics
from steer.effects.passes.edited import EditedPrompt, edited_prompts, written_site
from steer.effects.paths.freeze import DIRECT as DIRECT
from steer.effects.paths.freeze import PATHS as PATHS
from steer.effects.paths.freeze import TOTAL as TOTAL
from steer.effects.paths.freeze import Freeze as Freeze
from steer.effects.paths.freeze import frozen_logits as frozen_logits
from steer.effects.paths.result import PathEffects as PathEffects
from steer.errors import SteerError
from steer.lm.anatomy import Site, check_residual
from steer.lm.prompts import as_texts
from steer.maths import metrics
from steer.maths.precision import exact
from steer.model import Model


def path_effects(
    model: Model,
    prompts: Sequence[str] | str,
    intervention: Intervention,
    paths: Mapping[str, Freeze] = PATHS,
    *,
    metric: Metric | str | Sequence[Metric] = "kl",
    dictionaries: Sequence[Dictionary] = (),
    draws: int = 8,
    seed: int = 0,
) -> PathEffects:
    """The effect of an intervention with each choice of frozen parts, on the last token.

    paths: names and what is frozen; the total and the direct effect are always measured.
    metric: of the last position. A logit difference makes effects of paths comparable; `between`
        of a metric is the difference of its changes.
    draws: controls of each kind a prompt, see `steer.effects.controls.compared`; 0 for none.

    Raises `InterventionError` for an edit that is not of the residual stream, `ModelError` for
    patterns that can't be frozen in this model, `SteerError` for a metric of all positions, and
    what `edited_prompts` raises.
    """
    texts = as_texts(prompts)
    measures = as_metrics(model, metric, len(texts))
    if any(measure.every for measure in measures):
        raise SteerError("paths are measured at the last token; use kl, or a LogitDifference")
    site = written_site(model, intervention, dictionaries, len(texts))
    check_residual(site)
    chosen = {"total": TOTAL, **paths, "direct": DIRECT}
    equals, matched = Equals.of(model, intervention, dictionaries, draws, seed), None
    paths_of = []
    for edited in edited_prompts(model, texts, intervention, dictionaries):
        matched = matched or equals.match(edited)
        trials = equals.trials(edited, matched)
        both = {
            name: _measured(edited, trials, site, freeze, measures[edited.number])
            for name, freeze in chosen.items()
        }
        (total, whole), (direct, part) = both["total"], both["direct"]
        both["between"] = total - direct, whole - part
        paths_of.append({name: _split(trials, *changes) for name, changes in both.items()})
    return PathEffects(
        logits={
            name: torch.stack([path_of[name].logits for path_of in paths_of])
            for name in paths_of[0]
        },
        effect={
            name: torch.tensor([path_of[name].effect for path_of in paths_of], dtype=torch.float64)
            for name in paths_of[0]
        },
        metric=type(measures[0]).__name__,
        prompts=texts,
        paths=chosen,
        model=model,
        error=intervention.error,
        controls=_by_kind(paths_of, lambda path: path.controls, torch.stack),
        control_logits=_by_kind(paths_of, lambda path: path.sizes, _mean),
        matched=matched,
    )


@dataclass(frozen=True, eq=False)
class _Path:
    """One path on one prompt. logits [V] and effect: of the edit; controls [draws]: the effects of
    its controls, by kind; sizes [V]: the mean |change| of the logits under them."""

    logits: Tensor
    effect: float
    controls: dict[str, Tensor]
    sizes: dict[str, Tensor]


def _measured(
    edited: EditedPrompt, trials: Sequence[Trial], site: Site, freeze: Freeze, measure: Metric
) -> tuple[Tensor, Tensor]:
    """Change of the last logits, [1 + trials, V], and of the metric, [1 + trials]; the edit first.

    It runs alone, so that its last bits do not depend on how many controls there are.
    """
    logits, effects = [], []
    for delta in (edited.delta.unsqueeze(0), *parts(trials)):
        clean, *changed = exact(frozen_logits(edited.clean, delta, site, freeze))
        none = torch.full((1,), -1, device=clean.device)
        reference = Reference(clean.unsqueeze(0), none, edited.clean.length)
        after = torch.stack(changed)
        logits.append(metrics.change(clean, after))
        with torch.inference_mode():
            effects.append(measure.change(after.unsqueeze(1), reference).double().cpu())
    return torch.cat(logits), torch.cat(effects)


def _split(trials: Sequence[Trial], logits: Tensor, effects: Tensor) -> _Path:
    sizes = {kind: change.abs().mean(0) for kind, change in by_kind(trials, logits[1:]).items()}
    return _Path(logits[0], effects[0].item(), by_kind(trials, effects[1:]), sizes)


def _mean(several: list[Tensor]) -> Tensor:
    return torch.stack(several).mean(0)


def _by_kind(
    measured: Sequence[Mapping[str, _Path]],
    pick: Callable[[_Path], Mapping[str, Tensor]],
    join: Callable[[list[Tensor]], Tensor],
) -> dict[str, dict[str, Tensor]]:
    """By kind and path, what the prompts gave."""
    first = next(iter(measured[0].values()))
    return {
        kind: {name: join([pick(one[name])[kind] for one in measured]) for name in measured[0]}
        for kind in pick(first)
    }
