"""One forward pass under plans: what happens at each site, whoever shows it the site's tensor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from torch import Tensor

from steer.lm.anatomy import Site
from steer.lm.span import Span
from steer.splice.plan import SitePlan
from steer.splice.record import Part, Record, write
from steer.splice.splice import Reading, delta, observe
from steer.splice.text_memory import Memory


@dataclass(frozen=True, eq=False)
class OnePass:
    """A pass under way: shown every site of `sites_of(plans)` once, in that order.

    All plans that read at a site see it before any of them writes there, and what those of the same
    rows write is added up first. Writing is in place: resid_mid is read by the norm and by the
    residual branch alike.
    Plans follow the activations to where they are, which on a server is not where they were made.
    """

    plans: Sequence[SitePlan]
    span: Span
    memory: Memory
    _readings: dict[int, Reading] = field(default_factory=dict)
    _records: dict[int, Record] = field(default_factory=dict)

    def visit(self, site: Site, x: Tensor) -> None:
        """Read and write the site's live tensor x [b, s, d]."""
        here = [plan.to(x.device) for plan in self.plans]
        for number, plan in enumerate(here):
            if plan.site == site:
                rows = self.span.to(x.device).rows(plan.rows)
                clean = None if plan.clean is None else x[plan.clean]
                self._readings[number] = observe(
                    x[plan.rows], plan, rows, self.memory, number, clean
                )
        parts: dict[int, Part] = {}
        for number, plan in enumerate(here):
            if site in plan.outs:
                clean = None if plan.clean is None else x[plan.clean]
                added = delta(x[plan.rows], plan, site, self._readings[number], clean)
                parts[number] = Part(plan, self._readings[number], added)
        for group, numbers in _by_rows(here, list(parts)):
            written = write(x[group], [parts[number] for number in numbers], site)
            for number, record in zip(numbers, written, strict=True):
                self._records[number] = record.with_other(self._records.get(number))

    @property
    def records(self) -> list[Record]:
        """What every plan did, in their order, after the last site."""
        return [self._records[number] for number in range(len(self.plans))]


def sites_of(plans: Sequence[SitePlan]) -> list[Site]:
    """Every site that the plans read or write, in the order of the forward pass."""
    sites = {site for plan in plans for site in (plan.site, *plan.outs)}
    return sorted(sites, key=lambda site: site.hookpoint.order)


def _by_rows(plans: Sequence[SitePlan], numbers: list[int]) -> list[tuple[slice, list[int]]]:
    """Numbers of plans that edit the same rows, together."""
    together: dict[tuple[int | None, int | None], list[int]] = {}
    for number in numbers:
        rows = plans[number].rows
        together.setdefault((rows.start, rows.stop), []).append(number)
    return [(plans[group[0]].rows, group) for group in together.values()]
