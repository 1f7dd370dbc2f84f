"""Forward passes under plans: here, behind the model's lock, or on a server."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from torch import Tensor

from steer.errors import SteerError
from steer.lm.language_model import LanguageModel
from steer.lm.remote_answers import Question, answers
from steer.lm.span import Span
from steer.splice import passes
from steer.splice.finite import check
from steer.splice.plan import SitePlan
from steer.splice.record import Record

Edited = tuple[Tensor, list[Record]]
"""Logits [b, s, V] of ids [b, s] under some plans, and what each plan did."""


def edited_logits(
    model: LanguageModel, ids: Tensor, span: Span, plans: Sequence[SitePlan]
) -> Edited:
    """Logits of one pass under the plans, and what each plan did.

    span: the tokens of the batch, as `model.span(ids, mask)` gives them.
    Raises `NonFiniteError` if anything overflows.
    """
    (edited,) = answers(model, False, [edited_pass(model, ids, span, plans)])
    return edited


def edited_pass(
    model: LanguageModel, ids: Tensor, span: Span, plans: Sequence[SitePlan], of: str = "a pass"
) -> Question[Edited]:
    """The same, to be answered here or elsewhere. of: what it is, in words."""
    listed = list(plans)
    read = partial(_read, model, ids, span, listed)
    return Question(of, passes.asked_logits, (ids, span, listed), read)


def _read(
    model: LanguageModel, ids: Tensor, span: Span, plans: list[SitePlan], answer: dict[str, Any]
) -> Edited:
    logits: Any = answer.get("logits")
    steps = answer.get("steps", ())
    shape = logits.shape[:2] if isinstance(logits, Tensor) else None
    if shape != ids.shape or [len(step) for step in steps] != [len(plans)]:
        raise SteerError(
            f"what came back are no logits for ids {list(ids.shape)} and {len(plans)} plans: run "
            "the same again"
        )
    (records,), logits = passes.records_of(answer), logits.to(ids.device)
    check(model, ids, span, plans, records, logits)
    return logits, records
