"""Overflow in passes that resume from a clean one: refused with the token and the dose."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from steer.errors import NonFiniteError
from steer.lm.finite import first_of, overflowed, own_error
from steer.maths.precision import exact
from steer.model import Model
from steer.splice.finite import asked, behind, there, too_large
from steer.splice.plan import SitePlan
from steer.splice.splice import Reading


def check_clean(model: Model, ids: Tensor, logits: Tensor) -> None:
    """Raise `NonFiniteError` if the model's own logits of the last positions [p, V] overflow."""
    if at := first_of(overflowed(logits).unsqueeze(0)):
        position = len(ids) - len(logits) + at[1]
        raise own_error(model.name, model.dtype, position, model.token(int(ids[position])))


def check_reading(model: Model, ids: Tensor, y: Tensor, plan: SitePlan, reading: Reading) -> None:
    """Raise `NonFiniteError` if an edit read on a clean pass is too large for y [s, d]."""
    if not plan.edits:
        return
    rows = plan.W_dec[[edit.target for edit in plan.edits]]
    doses = torch.stack([edit.dose[0] for edit in reading.edits], dim=-1)
    entries = doses * (rows.abs().amax(-1) / rows.norm(dim=-1).clamp(min=1e-30))
    # A norm that overflows is as bad: the model's own norms square it.
    bad = ~(doses.square() < torch.inf) | ~(entries <= torch.finfo(y.dtype).max)
    if at := first_of(bad):
        position, number = at
        edit = reading.edits[number]
        numbers = (values[0, position].item() for values in (edit.before, edit.after, edit.dose))
        what = asked(plan.edits[number].edit, *numbers)
        raise too_large(f"{what} {_there(model, ids, y, position)}", model.dtype)


def check_deltas(model: Model, ids: Tensor, y: Tensor, deltas: Sequence[Tensor]) -> None:
    """Raise `NonFiniteError` if what is added to y [s, d], each [b, s, d], overflows."""
    for delta in deltas:
        sizes = exact(delta).norm(dim=-1)
        if at := first_of(~sizes.isfinite()):
            told = f"an edit moves the stream by {sizes[at].item():.3g}"
            raise too_large(f"{told} {_there(model, ids, y, at[1])}", model.dtype)


def check_behind(model: Model, ids: Tensor, y: Tensor, delta: Tensor, values: Tensor) -> None:
    """Raise `NonFiniteError` if values [b, ...] behind an added delta [b, s, d] are not finite."""
    bad = overflowed(values.flatten(1))
    if not bool(bad.any()):
        return
    raise behind_delta(model, ids, y, delta[bad][:1])


def behind_delta(model: Model, ids: Tensor, y: Tensor, delta: Tensor) -> NonFiniteError:
    """Of a delta [1, s, d] behind which the model overflows."""
    sizes = exact(delta[0]).norm(dim=-1)
    position = int((sizes / exact(y).norm(dim=-1).clamp(min=1e-30)).argmax())
    told = f"an edit moves the stream by {sizes[position].item():.3g}"
    return behind(f"{told} {_there(model, ids, y, position)}", model.dtype)


def _there(model: Model, ids: Tensor, y: Tensor, position: int) -> str:
    return there(position, model.token(int(ids[position])), exact(y[position]).norm().item())
