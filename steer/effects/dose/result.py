"""What doses of an edit did: tables, the strongest that text survives, and its two signs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from torch import Tensor

from dictionaries.extras import need
from steer.edits.values import Value, parse_value
from steer.maths.statistics import Interval, interval
from steer.shown import Shown, at, measured

if TYPE_CHECKING:
    import pandas

    from steer.figures.style import Figure

MEASURES = ("effect", "kl", "delta_ce", "relative_dose")
WRITTEN = ("loss", "distinct")
NEUTRAL = "neutral_ce"
PRICED = "priced"


@dataclass(frozen=True, eq=False, repr=False)
class DoseResponse(Shown):
    """What each dose does, on each prompt.

    doses: as given.
    effect, kl, delta_ce, relative_dose [doses, prompts]: change of the metric, KL(clean‖edited) at
        the last token, rise of the prompt's own loss in nats, and mean ‖Δ‖/‖x‖ at touched tokens,
        0 where none is touched.
    neutral_ce [doses, texts]: rise of the loss on neutral texts, or on the prompts if none were
        given: what a dose costs. NaN where the edit touches no token before another, as one of the
        last token alone, so that no loss could rise.
    loss, distinct [doses, prompts]: of the continuation written under each dose, its loss under
        the untouched model in nats per token, and the share of its token pairs that are different
        (low where it repeats itself); None if none was asked for.
    error: what became of what the dictionary does not explain.
    shard: such as `2/3` where a part of the texts alone was run, and the others are NaN.
    remote: the server that ran the edited passes, or `local` if that was rehearsed; empty if none.
    """

    feature: int
    doses: tuple[Value, ...]
    prompts: tuple[str, ...]
    metric: str
    dtype: str
    effect: Tensor
    kl: Tensor
    delta_ce: Tensor
    relative_dose: Tensor
    neutral_ce: Tensor
    loss: Tensor | None = None
    distinct: Tensor | None = None
    error: str = field(default="keep", init=False)
    shard: str = ""
    remote: str = ""

    _columns: ClassVar = (
        "dose",
        "effect",
        "kl",
        "delta_ce",
        "relative_dose",
        "neutral_ce",
        "loss",
        "distinct",
    )

    def _title(self) -> str:
        if self.shard:
            return f"shard {self.shard} of a DoseResponse: feature {self.feature}"
        return (
            f"DoseResponse: feature {self.feature} at {len(self.doses)} doses on "
            f"{len(self.prompts)} prompts, change of {measured(self.metric)}, {self.dtype}; "
            f"{self.limit}{at(self.remote)}"
        )

    def plot(self) -> Figure:
        """Every measure against the dose, with bands."""
        need("plotly")
        from steer.figures.curves import dose_curves

        return dose_curves(self)

    @property
    def limit(self) -> str:
        """The strongest dose within 0.5 nats, in words."""
        if self.neutral_ce.isnan().all():
            return "no dose has a price: no token before another is touched, so no loss can rise"
        return f"strongest dose within 0.5 nats of ΔCE {self.strongest() or 'none'}"

    @property
    def measures(self) -> list[str]:
        """Names of the measures that there are."""
        written = [name for name in WRITTEN if getattr(self, name) is not None]
        return [*MEASURES, NEUTRAL, *written]

    def to_frame(self, *, level: float = 0.95, seed: int = 0) -> pandas.DataFrame:
        """One row a dose; each measure with the bounds of its interval over prompts (or texts)."""
        import pandas

        rows = []
        for number, dose in enumerate(self.doses):
            row: dict[str, Any] = {"dose": dose}
            for name in self.measures:
                values = getattr(self, name)[number]
                known = values[~values.isnan()]
                row |= _bounds(name, interval(known, level=level, seed=seed))
            rows.append(row)
        return pandas.DataFrame(rows)

    def asymmetry(self, *, level: float = 0.95, seed: int = 0) -> pandas.DataFrame:
        """One row a size d of which both −d and +d were given, with intervals over prompts.

        minus, plus: the effects at −d and +d; even: (plus + minus)/2, which is 0 for an effect in
        proportion to the dose; odd: (plus − minus)/2, which is 0 for one that knows no sign, such
        as a small KL. An even part says that pushing back does not undo what pushing does.
        """
        import pandas

        columns = ["unit", "dose", "minus", "plus", "even", "odd"]
        place = {self._parsed(i): i for i in range(len(self.doses))}
        rows = []
        for (amount, unit), up in sorted(place.items()):
            down = place.get((-amount, unit))
            if amount <= 0 or down is None:
                continue
            minus, plus = self.effect[down], self.effect[up]
            parts = {
                "minus": minus,
                "plus": plus,
                "even": (plus + minus) / 2,
                "odd": (plus - minus) / 2,
            }
            row: dict[str, Any] = {"unit": unit, "dose": amount}
            for name, values in parts.items():
                row |= _bounds(name, interval(values, level=level, seed=seed))
            rows.append(row)
        return pandas.DataFrame(rows) if rows else pandas.DataFrame(columns=columns)

    def strongest(self, budget: float = 0.5) -> Value | None:
        """The dose with the largest mean ‖Δ‖/‖x‖ whose mean `neutral_ce` and that of all weaker
        ones of its sign stay within `budget` nats; None if there is none. 0.5 is Chalnev et al.
        2024's. None too where no text has a price, and for a shard."""
        if self.shard:
            return None
        mean, size = self.neutral_ce.nanmean(1), self.relative_dose.mean(1)
        best: tuple[float, Value] | None = None
        for negative in (False, True):
            side = [i for i in range(len(self.doses)) if (self._parsed(i)[0] < 0) == negative]
            for i in sorted(side, key=lambda i: size[i].item()):
                if not mean[i] <= budget:
                    break
                if best is None or size[i].item() > best[0]:
                    best = size[i].item(), self.doses[i]
        return best[1] if best else None

    def at(self, dose: Value) -> Interval:
        """The effect at one of the doses."""
        return interval(self.effect[self.doses.index(dose)])

    def _parsed(self, number: int) -> tuple[float, str]:
        dose = parse_value(self.doses[number])
        return dose.amount, dose.unit


def _bounds(name: str, estimate: Interval) -> dict[str, float]:
    return {name: estimate.mean, f"{name}_low": estimate.low, f"{name}_high": estimate.high}
