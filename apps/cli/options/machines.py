"""For which machines work is planned: --machine and --within."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from steer.costs.plan import Plan
    from steer.costs.rates import Rate
    from steer.costs.work import Work


@dataclass(frozen=True)
class Machines:
    """Of the table of accelerators; and in how many hours work is to be done.

    Raises `SteerError` for an unknown machine, before a sample is run.
    """

    machine: Annotated[str | None, typer.Option(help="Such as H100; all that are known.")] = None
    within: Annotated[float, typer.Option(min=0.01, help="Hours to be done in.")] = 24.0

    def __post_init__(self) -> None:
        from steer.costs.accelerators import accelerators

        accelerators(self.machine)

    def plan(self, work: Work, here: Rate | None) -> Plan:
        """What the work costs."""
        from steer.costs.accelerators import accelerators
        from steer.costs.plan import Plan

        return Plan(work, here, accelerators(self.machine), self.within)
