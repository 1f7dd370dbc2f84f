"""The work of reading later features in units: a prompt, with its controls, as plain data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from dictionaries.dictionary import Dictionary
from steer.disk.ledger import Row
from steer.edits import Intervention
from steer.edits.positions import Positions
from steer.effects.controls.compared import Equals, by_kind, parts
from steer.effects.controls.matching import Like, Matched
from steer.effects.controls.trials import Trial
from steer.effects.downstream.result import Changed
from steer.effects.passes.clean import Clean
from steer.effects.passes.edited import EditedPrompt, edited_prompt
from steer.effects.passes.plans import plan_each
from steer.jobs.job import Opened
from steer.lm.anatomy import Site
from steer.lm.passes import frozen
from steer.maths.precision import compute_dtype, exact
from steer.model import Model


@dataclass(frozen=True, eq=False)
class Reading:
    """An edit on prompts, and the dictionary of a later site; all prompts are opened together,
    since their matched controls are chosen on the first."""

    prompts: tuple[str, ...]
    intervention: Intervention
    dictionaries: tuple[Dictionary, ...]
    other: Dictionary
    at: Positions
    draws: int
    seed: int
    stage: str = "downstream"
    doing: str = "reading later features"
    part: str = "edit"
    parts: int = 1

    @property
    def most_units(self) -> int:
        return len(self.prompts)

    def open(self, model: Model, part: int) -> Opened:
        plans = plan_each(model, self.intervention, self.dictionaries, len(self.prompts))
        site = model.site(model.site_of(self.other))
        other = self.other.to(device=model.device, dtype=compute_dtype(model.module.dtype))
        equals = Equals.of(model, self.intervention, self.dictionaries, self.draws, self.seed)

        def edited(number: int) -> EditedPrompt:
            return edited_prompt(model, number, self.prompts[number], plans[number], [site])

        matched = equals.match(edited(0))

        def rows(unit: int) -> list[Row]:
            prompt = edited(unit)
            changed = _changed(prompt, other, site, self.at, equals.trials(prompt, matched))
            return [{"prompt": unit, "acted": prompt.acted, **_plain(changed, matched)}]

        return Opened(len(self.prompts), rows)


def later_activations(clean: Clean, delta: Tensor, site: Site) -> Tensor:
    """Activations [b, s, d] at a later site kept in `clean.others`, with delta [b, s, d] added.

    The model runs no further than that site. Rows that add nothing are the clean activations.
    """
    whole = clean.others[site].expand(len(delta), -1, -1).clone()
    acting = (delta != 0).flatten(1).any(1)
    if acting.any():
        start = clean.start(delta[acting])
        with clean.model.lock:
            reached = frozen.reach(clean.model.nn, start, site)
        clean.check(delta[acting], reached)
        whole[acting, clean.length - reached.shape[1] :] = reached
    return whole


def read(row: Row, width: int, dtype: torch.dtype) -> tuple[Changed, Matched | None]:
    """A row as it was measured, and what its controls were matched to."""
    controls = {}
    for kind, values in row["controls"].items():
        whole = torch.zeros(len(values), width, dtype=dtype)
        whole[:, row["controls_at"]] = torch.tensor(values, dtype=dtype)
        controls[kind] = whole
    before, after = (torch.tensor(row[name], dtype=dtype) for name in ("before", "after"))
    counted = torch.tensor(row["counted"], dtype=torch.bool)
    features = torch.tensor(row["features"], dtype=torch.long)
    changed = Changed(tuple(row["tokens"]), counted, features, before, after, controls)
    return changed, _matched(row["matched"])


def _changed(
    edited: EditedPrompt, other: Dictionary, site: Site, at: Positions, trials: Sequence[Trial]
) -> Changed:
    clean = edited.clean
    counted = clean.touched(at)
    with torch.inference_mode():
        after_x = later_activations(clean, edited.delta.unsqueeze(0), site)[0]
        before = other.encode(exact(clean.others[site]))[0]
        after = other.encode(exact(after_x))[0]
        moved = ((after != before) & counted.unsqueeze(-1)).any(0).nonzero().flatten()
        means = [before.new_zeros(0, before.shape[1])]
        for part in parts(trials):
            for x in later_activations(clean, part, site):
                change = other.encode(exact(x))[0] - before
                # The mean over no token is 0, as the edit's own is, and not NaN.
                means.append(change[counted].sum(0, keepdim=True) / max(int(counted.sum()), 1))
    return Changed(
        tokens=tuple(clean.model.token(token) for token in clean.ids.tolist()),
        counted=counted,
        features=moved,
        before=before[:, moved],
        after=after[:, moved],
        controls=by_kind(trials, torch.cat(means).cpu()),
    )


def _plain(changed: Changed, matched: Matched | None) -> dict[str, Any]:
    """As a row: of controls only the features that any of them changes."""
    moving = [values.any(0) for values in changed.controls.values()]
    at = torch.stack(moving).any(0).nonzero().flatten() if moving else torch.zeros(0).long()
    return {
        "tokens": list(changed.tokens),
        "counted": changed.counted.tolist(),
        "features": changed.features.tolist(),
        "before": changed.before.tolist(),
        "after": changed.after.tolist(),
        "controls_at": at.tolist(),
        "controls": {kind: means[:, at].tolist() for kind, means in changed.controls.items()},
        "matched": None if matched is None else asdict(matched),
    }


def _matched(plain: Mapping[str, Any] | None) -> Matched | None:
    if plain is None:
        return None
    return Matched(tuple(Like(**other) for other in plain["others"]), plain["density"])
