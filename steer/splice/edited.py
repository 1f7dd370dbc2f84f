"""One forward pass under plans, behind the model's lock."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from steer.lm.language_model import LanguageModel
from steer.lm.remote import Remote
from steer.lm.span import Span
from steer.splice import passes
from steer.splice.finite import check
from steer.splice.plan import SitePlan
from steer.splice.record import Record


def edited_logits(
    model: LanguageModel,
    ids: Tensor,
    span: Span,
    plans: Sequence[SitePlan],
    remote: Remote = False,
) -> tuple[Tensor, list[Record]]:
    """Logits [b, s, V] of ids [b, s] under the plans, and what each plan did.

    span: the tokens of the batch, as `model.span(ids, mask)` gives them.
    Raises `NonFiniteError` if anything overflows.
    """
    with model.lock:
        logits, records = passes.logits(model.nn, ids, span, list(plans), remote)
    check(model, ids, span, plans, records, logits)
    return logits, records
