"""Is it the feature, or would anything of that size have done it? Five controls.

random: a random direction with the edit's ‖Δ‖ at every position. Random directions match trained
dictionaries in many causal tests (Korznikov 2026), so an effect that does not exceed it means
nothing.
matched: other features of the same dictionary, about as dense, with the edit's ‖Δ‖ and sign.
sign turned: the edit's Δ the other way; what it does as well is of its size alone.
wrong site: the edit's Δ written at the same kind of site in another block.
reconstruction: what replacing x by its reconstruction alone does at those positions; an upper
bound of what an imperfect dictionary breaks. A cross-layer transcoder has none: a block is a part
of the reconstruction.

Where a feature writes several sites, a control has the edit's ‖Δ‖ at each of them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from dictionaries.dictionary import Dictionary
from steer.edits import FeatureEdit, Intervention
from steer.effects.controls.elsewhere import wrong_site
from steer.effects.controls.matching import Matched, matched_features
from steer.effects.controls.trials import Trial, matched_trials, random_trials
from steer.effects.metric import Metric, Reference, as_metrics
from steer.effects.passes.changes import clean_of, edit_deltas
from steer.effects.passes.clean import Clean, Edited
from steer.effects.passes.copies import Copies, run_copies
from steer.effects.passes.plans import plan_each
from steer.lm.anatomy import Site
from steer.lm.passes.added import Dense
from steer.lm.remote import Remote
from steer.maths.precision import compute_dtype, exact
from steer.maths.statistics import bootstrap
from steer.model import Model
from steer.shown import Shown, measured
from steer.splice.resolve import by_name

if TYPE_CHECKING:
    import pandas

TURNED, WRONG_SITE = "sign turned", "wrong site"


@dataclass(frozen=True, eq=False, repr=False)
class Controls(Shown):
    """Effects of an intervention and of its controls, on the same prompts.

    rows: one a prompt and run: control (`edit`, `random`, `matched`, `sign turned`, `wrong site`,
        `reconstruction`), draw, feature (of a matched control), density (of that feature; of the
        edited ones, their mean, for `edit`; None where there is none), effect, norm (‖Δx‖ over the
        prompt).
    error: the intervention's policy for what the dictionary does not explain.
    """

    rows: tuple[dict[str, Any], ...]
    metric: str
    error: str = "keep"

    def _title(self) -> str:
        metric = measured(self.metric)
        return f"Controls: effect on {metric} beside that of controls, error {self.error}"

    def to_rows(self) -> pandas.DataFrame:
        """One row a prompt and run; `per_norm` is the effect per unit of ‖Δx‖."""
        import pandas

        frame = pandas.DataFrame(list(self.rows))
        return frame.assign(per_norm=frame["effect"] / frame["norm"].clip(lower=1e-12))

    def to_frame(self, *, level: float = 0.95, seed: int = 0) -> pandas.DataFrame:
        """One row a control: mean effect over prompts and draws with its interval over prompts.

        density: mean over its features, with the lowest and the highest where they differ: how near
        the matched controls are to the edit's own.
        share: how many of its draws have a mean effect at least as large as the edit's, the edit
        itself counted in, so that it is a p-value.
        """
        import pandas

        frame = self.to_rows()
        edit = abs(frame.loc[frame["control"] == "edit", "effect"].mean())
        rows = []
        for control, group in frame.groupby("control", sort=False):
            by_prompt = torch.tensor(group.groupby("prompt")["effect"].mean().to_numpy())
            low, high = bootstrap(by_prompt, level=level, seed=seed)
            draws = group.groupby("draw")["effect"].mean().abs()
            rows.append(
                {
                    "control": control,
                    "effect": group["effect"].mean(),
                    "low": low.item(),
                    "high": high.item(),
                    "norm": group["norm"].mean(),
                    "per_norm": group["effect"].mean() / max(group["norm"].mean(), 1e-12),
                    **_densities(group["density"]),
                    "draws": len(draws),
                    "share": (1 + int((~(draws < edit)).sum())) / (1 + len(draws)),
                }
            )
        table = pandas.DataFrame(rows)
        return table.assign(share=table["share"].where(table["control"] != "edit"))


def controls(
    model: Model,
    prompts: Sequence[str],
    intervention: Intervention,
    *,
    dictionaries: Sequence[Dictionary] = (),
    metric: Metric | str | Sequence[Metric] = "kl",
    draws: int = 8,
    seed: int = 0,
    remote: Remote = False,
) -> Controls:
    """Run an intervention and its controls. Raises what `plan_each` and `as_metrics` raise.

    remote: where they run; a job or two a prompt, whose clean pass is run here to be read.
    """
    measures = as_metrics(model, metric, len(prompts))
    several = _copies(model, prompts, intervention, dictionaries, measures, draws, seed)
    rows = [row for rows in run_copies(model, several, remote) for row in rows]
    return Controls(tuple(rows), type(measures[0]).__name__, intervention.error)


def _copies(
    model: Model,
    prompts: Sequence[str],
    intervention: Intervention,
    dictionaries: Sequence[Dictionary],
    measures: Sequence[Metric],
    draws: int,
    seed: int,
) -> Iterator[Copies[list[dict[str, Any]]]]:
    """Of each prompt the edit and its controls, and those at another site."""
    plans = plan_each(model, intervention, dictionaries, len(prompts))
    given = by_name(dictionaries)
    whole = given.get(intervention.dictionary)
    if whole is None and plans[0].dictionary is not None:
        whole = model.dictionary(intervention.dictionary)
    elsewhere = wrong_site(model, plans[0].out)
    matched: Matched | None = None
    for number, (prompt, plan) in enumerate(zip(prompts, plans, strict=True)):
        ids, _ = model.tokenize([prompt])
        clean = clean_of(model, ids[0], plan, every=measures[number].every, beside=elsewhere)
        if whole is not None and matched is None:
            matched = matched_features(clean, whole, _edited(intervention), draws, seed)
        (delta, *later), sign = edit_deltas(clean, plan)
        density = None if matched is None else matched.density
        trials = [Trial("edit", 0, None, delta, density, tuple(later))]
        trials += random_trials(delta, draws, seed, later)
        if whole is not None:
            trials += matched_trials(delta, whole, matched.others if matched else (), sign, later)
        trials.append(Trial(TURNED, 0, None, -delta, later=tuple(-more for more in later)))
        if whole is not None and whole.later is None and not whole.config.partial:
            trials.append(Trial("reconstruction", 0, None, _reconstruction(clean, whole, delta)))
        yield trial_copies(clean, measures[number], trials, number, plan.outs[1:])
        if elsewhere is not None and not plan.later:
            moved = Trial(WRONG_SITE, 0, None, delta)
            yield trial_copies(clean.at(elsewhere), measures[number], [moved], number)


def trial_copies(
    clean: Clean,
    metric: Metric,
    trials: Sequence[Trial],
    number: int,
    later: Sequence[Site] = (),
) -> Copies[list[dict[str, Any]]]:
    """The effect of every trial on one prompt, in one batch; later: the sites of `Trial.later`."""
    delta, *more = (
        torch.stack(deltas).to(clean.x.dtype)
        for deltas in zip(*(trial.deltas for trial in trials), strict=True)
    )

    ids = clean.ids

    def rows(edited: Edited) -> list[dict[str, Any]]:
        reference = Reference.of(edited.clean, ids, edited.start, metric.every)
        with torch.inference_mode():
            effects = metric.change(edited.logits, reference).tolist()
        return [
            {
                "prompt": number,
                "control": trial.control,
                "draw": trial.draw,
                "feature": trial.feature,
                "density": trial.density,
                "effect": effect,
                "norm": exact(torch.cat(trial.deltas)).norm().item(),
            }
            for trial, effect in zip(trials, effects, strict=True)
        ]

    return Copies(
        clean=clean,
        rows=len(trials),
        change=Dense(delta),
        every=metric.every,
        of=f"controls at {clean.site.hookpoint}, prompt {number + 1}, {len(trials)} rows",
        then=rows,
        also=tuple(zip(later, more, strict=True)),
    )


def _reconstruction(clean: Clean, dictionary: Dictionary, delta: Tensor) -> Tensor:
    """x̂ − x where the edit acts, 0 elsewhere, [s, d]."""
    site = clean.model.site(clean.model.site_of(dictionary))
    read = clean.others.get(site, clean.x)
    with torch.inference_mode():
        ours = dictionary.to(read.device, compute_dtype(read.dtype))
        moved = ours.reconstruct_texts(exact(read).unsqueeze(0))[0] - exact(clean.x)
        return torch.where((delta != 0).any(-1, keepdim=True), moved, 0.0).to(delta.dtype)


def _densities(densities: pandas.Series) -> dict[str, float]:
    """The mean, and the ends where they differ; NaN for what is not there."""
    low, high = densities.min(), densities.max()
    ends = (low, high) if low < high else (math.nan, math.nan)
    return {"density": densities.mean(), "density_low": ends[0], "density_high": ends[1]}


def _edited(intervention: Intervention) -> list[int]:
    return [edit.feature for edit in intervention.edits if isinstance(edit, FeatureEdit)]
