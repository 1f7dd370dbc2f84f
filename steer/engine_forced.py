"""The trace body of teacher forcing: texts that are given whole, right-padded.

Nothing in a causal model looks at later tokens, so right padding needs no mask. Without one the
model runs the same kernels as when it is called on the ids alone, and an edit that does nothing
leaves every bit of the logits as it is.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from steer.engine import apply  # isort: skip  # before nnsight itself, see there
from nnsight import save

from steer.plan import SitePlan
from steer.span import Span
from steer.splice import Record


def teacher_forced(
    nn: Any, ids: Tensor, span: Span, plans: list[SitePlan]
) -> tuple[Tensor, list[Record]]:
    """Logits [b, s, V] of right-padded ids [b, s] under the plans, and what each plan did."""
    with torch.inference_mode(), nn.trace(ids, use_cache=False) as tracer:
        records: list[Record] = save([])
        records.extend(apply(nn, plans, span, {}))
        output = save(tracer.result)
    return output.logits, records
