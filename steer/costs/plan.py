"""A plan: how long a job takes here, as measured, and on accelerators, by their data sheets."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from steer.costs.accelerators import SHARE, USABLE, Accelerator
from steer.costs.rates import Rate
from steer.costs.work import Work
from steer.shown import Shown, number

if TYPE_CHECKING:
    import pandas

GIB = 2**30


@dataclass(frozen=True, eq=False, repr=False)
class Plan(Shown):
    """What a job costs.

    here: its rate on this machine, from a sample of the very work; None if the model is not here.
    within: hours in which it is to be done, which says how many machines.
    """

    work: Work
    here: Rate | None
    machines: tuple[Accelerator, ...]
    within: float = 24.0

    _columns: ClassVar = ("machine", "cards", "hours", "machines")

    @property
    def flops(self) -> float:
        """Operations in all."""
        return self.work.units * self.work.flops

    @property
    def bytes(self) -> float:
        """That one machine holds."""
        return self.work.model_bytes + self.work.beside_bytes

    @property
    def hours_here(self) -> float | None:
        """On this machine; None where nothing was measured."""
        return None if self.here is None else self.here.hours(self.work.units)

    def _title(self) -> str:
        return (
            f"{self.work.job}: {number(self.flops)} operations, {number(self.bytes / GIB)} GiB of "
            f"memory, {number(self.work.disk_bytes / GIB)} GiB on disk"
        )

    def to_frame(self) -> pandas.DataFrame:
        """A row a machine: cards that hold the model once, hours with one such set, and how many
        sets make it `within`. The first is this one, measured; the others' rates are assumed."""
        import pandas

        rows: list[dict[str, Any]] = []
        if self.here is not None and self.hours_here is not None:
            rows.append(self._row(self.here.machine, 1, self.hours_here))
        for machine in self.machines:
            cards = max(1, math.ceil(self.bytes / (USABLE * machine.gib * GIB)))
            hours = self.flops / (cards * machine.teraflops * 1e12 * SHARE) / 3600
            rows.append(self._row(machine.name, cards, hours))
        return pandas.DataFrame(rows)

    def _row(self, machine: str, cards: int, hours: float) -> dict[str, Any]:
        sets = max(1, math.ceil(hours / self.within))
        return {"machine": machine, "cards": cards, "hours": hours, "machines": sets}

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        rows: Sequence[dict[str, Any]] = self.to_frame().to_dict("records")
        return {
            **asdict(self.work),
            "all_flops": self.flops,
            "bytes": self.bytes,
            "share_of_peak": SHARE,
            "within_hours": self.within,
            "here": None if self.here is None else asdict(self.here),
            "machines": rows,
        }
