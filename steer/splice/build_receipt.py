"""From the records of a run's passes to the receipt of one of its rows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from steer.edits import Edit, FeatureEdit, Intervention
from steer.features.contexts import OUTLIER_MEDIANS
from steer.splice.cancelled import Cancelled, Share, cancelled
from steer.splice.receipt import EditReceipt, Receipt, TokenEdit
from steer.splice.record import Record


@dataclass(frozen=True, eq=False)
class _Flat:
    """A plan's records of one row, steps joined: [t] or [t, k]; wrote [k, d] or [t, k, d].

    See `Record`.
    """

    absolute: Tensor
    touched: Tensor
    fired: Tensor
    changed: Tensor
    acted: Tensor
    before: Tensor
    after: Tensor
    reached: Tensor
    dose: Tensor
    asked: Tensor
    moved: Tensor
    norm: Tensor
    delta_norm: Tensor
    wrote: Tensor

    @classmethod
    def of(cls, steps: Sequence[Record], row: int, stop: int) -> _Flat:
        """Tokens before position `stop`; padding has negative positions and is left out.

        Without a cache every step reads the whole text again: only its last token is new.
        """
        new = [slice(None), *[slice(-1, None)] * (len(steps) - 1)]
        parts = list(zip(steps, new, strict=True))

        def join(name: str) -> Tensor:
            return torch.cat([getattr(step, name)[row, part] for step, part in parts])

        absolute = join("absolute")
        read = (absolute >= 0) & (absolute < stop)
        by_token = [name for name in cls.__dataclass_fields__ if name != "wrote"]
        wrote = steps[0].wrote if steps[0].wrote.dim() == 2 else join("wrote")[read]
        return cls(**{name: join(name)[read] for name in by_token}, wrote=wrote)

    @property
    def massive(self) -> Tensor:
        """Which tokens' norms are outliers, [t]: more than so many medians, the first left out."""
        return self.norm > OUTLIER_MEDIANS * self.norm[self.absolute > 0].median()


def build(
    interventions: Sequence[Intervention],
    steps: Sequence[Sequence[Record]],
    tokens: Sequence[str],
    *,
    row: int = 0,
) -> Receipt:
    """The receipt of one batch row.

    steps: for each forward pass, one record per intervention, in their order.
    tokens: the text of every position that was read, prompt and generated.
    """
    flats = [
        _Flat.of([step[number] for step in steps], row, len(tokens))
        for number in range(len(interventions))
    ]
    edits = [
        (intervention, flat, column, _share(intervention, steps[0][number].site, flat, column))
        for number, (intervention, flat) in enumerate(zip(interventions, flats, strict=True))
        for column in range(len(intervention.edits))
    ]
    by_others = cancelled([share for *_, share in edits])
    return Receipt(
        tuple(
            _entry(intervention, flat, column, tokens, others)
            for (intervention, flat, column, _), others in zip(edits, by_others, strict=True)
        )
    )


def _share(intervention: Intervention, site: str, flat: _Flat, column: int) -> Share:
    edit = intervention.edits[column]
    sign = (flat.after[:, column] - flat.before[:, column]).sign()
    return Share(
        name=f"{edit.kind} {_what(edit)} of {intervention.dictionary}",
        site=site,
        wrote=flat.wrote[..., column, :],
        asked=torch.where(flat.changed[:, column], flat.asked[:, column] * sign, 0.0),
        moved=flat.moved[:, column],
        stream=flat.delta_norm,
    )


def _what(edit: Edit) -> str:
    if isinstance(edit, FeatureEdit):
        return f"feature {edit.feature}"
    return str(edit.target)


def _entry(
    intervention: Intervention,
    flat: _Flat,
    column: int,
    tokens: Sequence[str],
    others: Cancelled | None,
) -> EditReceipt:
    edit, massive = intervention.edits[column], flat.massive
    index = flat.acted[:, column].nonzero().flatten()
    rows = tuple(_token(flat, int(i), column, tokens) for i in index.tolist())
    outliers = [row for row, large in zip(rows, massive[index].tolist(), strict=True) if large]
    ordinary = [row for row in rows if row not in outliers] or rows
    return EditReceipt(
        dictionary=intervention.dictionary,
        feature=edit.feature if isinstance(edit, FeatureEdit) else None,
        kind=edit.kind,
        direction=None if isinstance(edit, FeatureEdit) else str(edit.target),
        acted_tokens=tuple(row.position for row in rows),
        touched=int(flat.touched[:, column].sum()),
        before=_mean([row.before for row in ordinary]),
        after=_mean([row.after for row in ordinary]),
        reached=_mean([row.reached for row in ordinary if row.reached is not None]),
        relative_dose=_mean([row.relative_dose for row in ordinary]),
        reason=None if rows else _reason(edit, flat, column, others),
        note=_note(flat, outliers, len(outliers) == len(rows), others) if rows else None,
        tokens=rows,
        error=intervention.error,
        held=_held(flat, column, massive),
        massive=tuple(row.position for row in outliers),
        cancelled_by=() if others is None else others.by,
        left=None if others is None else others.left,
    )


def _token(flat: _Flat, i: int, column: int, tokens: Sequence[str]) -> TokenEdit:
    position = int(flat.absolute[i])
    return TokenEdit(
        position=position,
        token=tokens[position],
        before=flat.before[i, column].item(),
        after=flat.after[i, column].item(),
        reached=_or_none(flat.reached[i, column].item()),
        relative_dose=(flat.dose[i, column] / flat.norm[i].clamp(min=1e-12)).item(),
        held=_rounded(flat.moved[i, column] / flat.asked[i, column]),
    )


def _held(flat: _Flat, column: int, massive: Tensor) -> float | None:
    """Mean share over the ordinary tokens where something was asked for."""
    asking = flat.changed[:, column] & (flat.asked[:, column] > 0)
    chosen = asking & ~massive
    chosen = chosen if chosen.any() else asking
    if not chosen.any():
        return None
    return _rounded((flat.moved[chosen, column] / flat.asked[chosen, column]).mean())


def _rounded(share: Tensor) -> float:
    """To four places, so that equal runs on other machines have equal receipts."""
    return round(share.item(), 4)


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else value


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _reason(edit: Edit, flat: _Flat, column: int, others: Cancelled | None) -> str:
    fired, changed = flat.fired[:, column], flat.changed[:, column]
    count = int(flat.touched[:, column].sum())
    if not count:
        return f"no token is at positions {edit.positions!r}"
    if (changed & (flat.moved[:, column] > 0)).any():
        names = "other edits" if others is None else ", ".join(others.by)
        return f"cancelled by {names}: nothing of it is left in the stream"
    if changed.any():
        return "the change is smaller than the model's dtype can hold"
    if not fired.any():
        return f"{_held_back(edit)} at all {count} touched tokens"
    numbers = edit.numbers
    scales = not (numbers.adds or numbers.floors or numbers.caps)
    if scales and not flat.before[fired, column].any():
        what = "the feature is silent (activation 0)"
        if not isinstance(edit, FeatureEdit):
            what = f"the stream has no part along {edit.target}"
        return f"{what} at all {int(fired.sum())} touched tokens"
    return (
        "nothing to change: the activation was already what was asked for at all "
        f"{int(fired.sum())} touched tokens"
    )


def _held_back(edit: Edit) -> str:
    causes = []
    if edit.when is not None:
        causes.append("its condition did not hold")
    if edit.schedule is not None:
        causes.append("its schedule had no strength")
    return " or ".join(causes) or "there is no value to take from the other text"


def _note(
    flat: _Flat, outliers: Sequence[TokenEdit], alone: bool, others: Cancelled | None
) -> str | None:
    said = []
    if outliers:
        at = ", ".join(str(row.position) for row in outliers[:5])
        texts = ", ".join(repr(row.token) for row in outliers[:5])
        places = flat.absolute.new_tensor([row.position for row in outliers])
        largest = flat.norm[torch.isin(flat.absolute, places)].max()
        ratio = (largest / flat.norm[flat.absolute > 0].median()).item()
        what = "it acted on no other" if alone else "left out of the means"
        said.append(
            f"massive activation at position {at} (norm up to {ratio:.0f}x the median): {texts}, "
            f"{what}"
        )
    if others is not None:
        said.append(others.told)
    return "; ".join(said) or None
