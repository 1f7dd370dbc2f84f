"""One intervention lowered for each of several prompts that run one by one."""

from __future__ import annotations

from collections.abc import Sequence

from dictionaries.dictionary import Dictionary
from steer.edits import Intervention
from steer.edits.rows import of_row
from steer.errors import InterventionError
from steer.model import Model
from steer.splice.plan import SitePlan


def plan_each(
    model: Model,
    intervention: Intervention,
    dictionaries: Sequence[Dictionary],
    prompts: int,
) -> list[SitePlan]:
    """The plan for each of so many prompts: the same for all, unless positions differ by row.

    Raises what `Model.plans` raises, and `InterventionError` for positions of another number of
    rows.
    """
    if not isinstance(intervention, Intervention):
        raise InterventionError(f"one Intervention is taken here, not {intervention!r}")
    plan_of: dict[str, SitePlan] = {}
    plans = []
    for row in range(prompts):
        (own,) = of_row([intervention], row, prompts)
        if own.digest not in plan_of:
            (plan,) = model.plans([own], dictionaries, clean=slice(0, 1))
            plan_of[own.digest] = plan
        plans.append(plan_of[own.digest])
    return plans
