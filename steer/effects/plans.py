"""One intervention lowered for each of several prompts that run one by one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from dictionaries.base import Dictionary
from steer.by_row import of_row
from steer.edits import Intervention
from steer.fit import refuse_later
from steer.plan import SitePlan

if TYPE_CHECKING:
    from steer.model import Model


def plan_each(
    model: Model,
    intervention: Intervention,
    dictionaries: Sequence[Dictionary],
    prompts: int,
) -> list[SitePlan]:
    """The plan for each of so many prompts: the same for all, unless positions differ by row.

    Raises what `Model.plans` raises, `InterventionError` for positions of another number of rows
    or features that write several sites.
    """
    found: dict[str, SitePlan] = {}
    plans = []
    for row in range(prompts):
        (own,) = of_row([intervention], row, prompts)
        if own.digest not in found:
            (plan,) = model.plans([own], dictionaries, clean=slice(0, 1))
            refuse_later(plan.later, "effects and controls resume from the one site")
            found[own.digest] = plan
        plans.append(found[own.digest])
    return plans
