"""What a plan looks like."""

from __future__ import annotations

from typing import TYPE_CHECKING

from apps.cli.output import records, table
from steer.costs.accelerators import SHARE

if TYPE_CHECKING:
    from rich.console import RenderableType

    from steer.costs.plan import Plan


def plan_view(plan: Plan) -> list[RenderableType]:
    """Machines with their hours, and what is measured of it."""
    measured = "this machine's rate is measured on a sample" if plan.here else "nothing is measured"
    return [
        table(records(plan.to_frame()), plan._title()),
        f"machines: how many of them, each with its cards, make it within {plan.within:g} hours",
        f"{measured}; accelerators: bf16 peaks of data sheets, times {SHARE:.0%}, an assumption",
    ]
