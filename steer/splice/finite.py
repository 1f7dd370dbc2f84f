"""Edits that overflow: refused with the token and the dose, before any number or text is shown.

The splice makes a token NaN where the stream overflows, so that looking at the logits is enough to
know; who is to blame is looked for only then.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from steer.edits import Edit
from steer.edits.conflicts import named
from steer.errors import NonFiniteError
from steer.lm.finite import first_of, overflowed, own_error, wider_than
from steer.lm.language_model import LanguageModel
from steer.lm.passes import plain
from steer.lm.span import Span
from steer.splice.plan import SitePlan
from steer.splice.record import Record

Texts = Callable[[int], Tensor]
"""A batch row -> the ids [t] of its text, padding left out."""


class Watch:
    """Ends a generation before a token that is chosen from numbers that are not finite.

    rows: those of the batch that they came up in; none as long as all is well.
    """

    def __init__(self) -> None:
        self.rows: list[int] = []

    def into(self, options: dict[str, Any]) -> dict[str, Any]:
        """Arguments of transformers' generate, with this watching first."""
        from transformers import LogitsProcessorList, StoppingCriteriaList

        listening = options.get("stopping_criteria") or StoppingCriteriaList()

        def stop(ids: Tensor, scores: Any, **more: Any) -> Tensor:
            if self.rows or not listening:
                return torch.full((len(ids),), bool(self.rows), device=ids.device)
            told: Tensor = listening(ids, scores, **more)
            return told

        processors = LogitsProcessorList([self, *(options.get("logits_processor") or ())])
        criteria = StoppingCriteriaList([stop])
        return {**options, "logits_processor": processors, "stopping_criteria": criteria}

    def __call__(self, ids: Tensor, scores: Tensor) -> Tensor:
        bad = overflowed(scores)
        if bool(bad.any()):
            self.rows = bad.nonzero().flatten().tolist()
        return scores


def check(
    model: LanguageModel,
    ids: Tensor,
    span: Span,
    plans: Sequence[SitePlan],
    records: Sequence[Record],
    logits: Tensor,
) -> None:
    """Raise `NonFiniteError` if logits [b, s, V] of ids [b, s] or what edits did is not finite."""
    at = first_of(overflowed(logits), span.real)
    if at is not None or any_overflow([records]):
        raise blame(model, plans, [records], lambda row: ids[row][span.real[row]], at and at[0])


def any_overflow(steps: Sequence[Sequence[Record]]) -> bool:
    """Whether an edit overflowed at any token of these passes; one sync."""
    bad = [
        (~record.delta_norm.isfinite() & (record.absolute >= 0)).any()
        for step in steps
        for record in step
    ]
    return bool(bad) and bool(torch.stack([place.to(bad[0].device) for place in bad]).any())


def blame(
    model: LanguageModel,
    plans: Sequence[SitePlan],
    steps: Sequence[Sequence[Record]],
    texts: Texts,
    row: int | None,
) -> NonFiniteError:
    """What to raise: of an edit that overflows, of the model behind it, or of the model by itself.

    row: of the batch, where logits are not finite; None if they are, everywhere.
    """
    for step in steps:
        for plan, record in sorted(
            zip(plans, step, strict=True), key=lambda pair: pair[0].site.hookpoint.order
        ):
            bad = ~record.delta_norm.isfinite() & record.norm.isfinite()
            if at := first_of(bad, record.absolute >= 0):
                return too_large(_told(model, plan, record, at, texts), model.dtype)
    text = texts(row or 0)
    with model.lock:
        own = overflowed(plain.logits(model.nn, text.unsqueeze(0), torch.ones_like(text)[None])[0])
    if own.any():
        position = int(own.nonzero()[0])
        return own_error(model.name, model.dtype, position, model.token(int(text[position])))
    return _behind(model, plans, steps, texts)


def too_large(told: str, dtype: str) -> NonFiniteError:
    """Of an edit that the stream itself can't hold; told: see `asked` and `there`."""
    return NonFiniteError(
        f"{told}: {dtype} can't hold that; give a smaller value{wider_than(dtype)}"
    )


def behind(told: str, dtype: str) -> NonFiniteError:
    """Of an edit that the stream holds, and from which the model makes NaN."""
    return NonFiniteError(
        f"{told}, and the model's own numbers behind it overflow {dtype}: give a smaller value"
        f"{wider_than(dtype)}"
    )


def asked(edit: Edit, before: float, after: float, dose: float) -> str:
    """What an edit wants at a token."""
    return f"{edit.kind} {named(edit)} ({before:.3g} -> {after:.3g}) moves the stream by {dose:.3g}"


def there(position: int, token: str, norm: float) -> str:
    """Which token it is, and how large its stream is."""
    return f"at token {position} ({token!r}), where its norm is {norm:.3g}"


def _behind(
    model: LanguageModel,
    plans: Sequence[SitePlan],
    steps: Sequence[Sequence[Record]],
    texts: Texts,
) -> NonFiniteError:
    """The stream is finite, and the model makes NaN of it: the largest dose is named."""
    doses = [
        (float((r.delta_norm / r.norm).nan_to_num(0.0).max()), plan, r)
        for step in steps
        for plan, r in zip(plans, step, strict=True)
        if r.norm.numel()
    ]
    if not doses:
        return NonFiniteError(f"{model.name} in {model.precision} gives logits that are not finite")
    _, plan, record = max(doses, key=lambda dose: dose[0])
    share = (record.delta_norm / record.norm).nan_to_num(0.0)
    at = divmod(int(share.argmax()), share.shape[1])
    return behind(_told(model, plan, record, at, texts), model.dtype)


def _told(
    model: LanguageModel, plan: SitePlan, record: Record, at: tuple[int, int], texts: Texts
) -> str:
    """Which edit, at which token, by how much."""
    row, position = at[0], int(record.absolute[at])
    text = texts(range(plan.rows.stop or row + 1)[plan.rows][row])
    what = f"error={plan.error!r} moves the stream by {record.delta_norm[at].item():.3g}"
    if plan.edits:
        largest = int(record.dose[at].nan_to_num(torch.inf).argmax())
        numbers = (
            values[at][largest].item() for values in (record.before, record.after, record.dose)
        )
        what = asked(plan.edits[largest].edit, *numbers)
    token = model.token(int(text[position]))
    return f"{what} {there(position, token, record.norm[at].item())}"
