"""What each of many edits would add at a site, all read from one clean pass.

All of them are lowered and read as one intervention, by the code that an intervention itself runs
through, so that a row of a sweep is the edit that would be made alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from dictionaries.dictionary import Dictionary
from steer.edits import Edit, Intervention
from steer.effects.passes.clean import Clean, needed, run_clean
from steer.effects.passes.finite import check_reading
from steer.errors import InterventionError
from steer.features.activations import encode
from steer.features.fit import refuse_later
from steer.lm.anatomy import Site
from steer.model import Model
from steer.splice import splice
from steer.splice.plan import SitePlan


@dataclass(frozen=True, eq=False)
class Changes:
    """k edits on a prompt of s tokens.

    amount [s, k]: change of each edit's activation; rows [k, d]: what a unit of it writes.
    scale [s, 1]: per-token normalisation to undo; None if there is none.
    before [s, k]: the activations read.
    """

    amount: Tensor
    rows: Tensor
    scale: Tensor | None
    before: Tensor

    @property
    def dose(self) -> Tensor:
        """Norm of what each edit adds at each token, [s, k]."""
        dose = self.amount.abs() * self.rows.norm(dim=-1)
        return dose if self.scale is None else dose * self.scale

    @property
    def first(self) -> Tensor:
        """The first position that each edit changes, [k]; s if it changes none."""
        changed = self.amount != 0
        place = changed.int().argmax(0)
        return torch.where(changed.any(0), place, len(self.amount))

    def only(self, index: Sequence[int]) -> Changes:
        """Some of the edits."""
        chosen = list(index)
        return replace(
            self,
            amount=self.amount[:, chosen],
            rows=self.rows[chosen],
            before=self.before[:, chosen],
        )

    def delta(self, sets: Sequence[Sequence[int]], dtype: torch.dtype) -> Tensor:
        """Δ [b, s, d] of b sets of edits, each made together."""
        rows = []
        for members in sets:
            index = list(members)
            rows.append(self.amount[:, index] @ self.rows[index])
        delta = torch.stack(rows)
        return (delta if self.scale is None else delta * self.scale).to(dtype)


def read_changes(clean: Clean, dictionary: Dictionary, edits: Sequence[Edit]) -> Changes:
    """Lower and read the edits on the clean pass.

    Raises what `Model.plans` raises, and `NonFiniteError` for an edit that overflows.
    """
    model = clean.model
    named = dictionary if dictionary.name else replace(dictionary, name="dictionary")
    together = Intervention(named.name, edits, conflicts="in_order")
    (plan,) = model.plans([together], [named])
    refuse_later(plan.later, "effects resume from the one site")
    if plan.subspaces:
        raise InterventionError(
            "edits made side by side are multiples of fixed rows, and one of a subspace writes "
            "another row at each token: measure it by itself, with logit_effect"
        )
    x = clean.others.get(plan.site, clean.x).unsqueeze(0)
    ids = clean.ids.unsqueeze(0)
    with torch.inference_mode():
        reading = splice.observe(x, plan, model.span(ids, torch.ones_like(ids)), {}, 0)
    check_reading(model, clean.ids, clean.x, plan, reading)
    targets = [edit.target for edit in plan.edits]
    scale = reading.norm.scale
    return Changes(
        amount=torch.stack([e.after[0] - e.before[0] for e in reading.edits], dim=-1),
        rows=plan.W_dec[targets],
        scale=None if scale is None else scale[0],
        before=torch.stack([e.before[0] for e in reading.edits], dim=-1),
    )


def clean_for(model: Model, ids: Tensor, dictionary: Dictionary, *, every: bool) -> Clean:
    """A clean pass whose site is where the dictionary writes, and that knows what it reads.

    Raises `InterventionError` for one that writes several.
    """
    refuse_later(dictionary.later, "effects resume from the one site")
    site = model.site(model.site_of(dictionary))
    out = dictionary.config.hookpoint_out
    if out is None:
        return run_clean(model, ids, site, every=every)
    return run_clean(model, ids, model.site(out), [site], every=every)


def clean_of(
    model: Model, ids: Tensor, plan: SitePlan, *, every: bool, beside: Site | None = None
) -> Clean:
    """A clean pass whose site is where the plan writes first, and that knows what it reads.

    beside: a site that `Clean.at` may resume at as well.
    """
    reads = [] if plan.site == plan.out else [plan.site]
    more = [] if beside is None else needed(model, beside)
    return run_clean(model, ids, plan.out, [*reads, *more], every=every)


def encode_clean(clean: Clean, dictionary: Dictionary) -> Tensor:
    """All features of the dictionary on the clean pass, [s, width]."""
    site = clean.model.site(clean.model.site_of(dictionary))
    return encode(dictionary, clean.others.get(site, clean.x))


def edit_delta(clean: Clean, plan: SitePlan) -> tuple[Tensor, float]:
    """Δ [s, d] of a plan on a clean pass, and whether it raises (1) or lowers (-1) its targets.

    Raises `InterventionError` for a plan that writes several sites, and `NonFiniteError` for an
    edit that overflows.
    """
    refuse_later(plan.later, "effects resume from the one site")
    (delta,), sign = edit_deltas(clean, plan)
    return delta, sign


def edit_deltas(
    clean: Clean, plan: SitePlan, prompt_length: int | None = None
) -> tuple[list[Tensor], float]:
    """`edit_delta` at each site that the plan writes: what it reads comes before all of them.

    prompt_length: of the text's tokens, for positions that ask where it ends; all of them if None.
    """
    x = clean.others.get(plan.site, clean.x).unsqueeze(0)
    y, ids = clean.x.unsqueeze(0), clean.ids.unsqueeze(0)
    whole = replace(plan, rows=slice(None), clean=slice(None))
    with torch.inference_mode():
        span = clean.model.span(ids, torch.ones_like(ids))
        if prompt_length is not None:
            span = replace(span, prompt_length=torch.tensor([prompt_length], device=ids.device))
        reading = splice.observe(x, whole, span, {}, 0, x)
        check_reading(clean.model, clean.ids, clean.x, plan, reading)
        deltas = [splice.delta(y, whole, site, reading, y)[0].to(y.dtype) for site in plan.outs]
    return deltas, 1.0 if reading.change.sum() >= 0 else -1.0
