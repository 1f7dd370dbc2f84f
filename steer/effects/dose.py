"""How an effect grows with its dose, and the strongest dose that a text survives."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from dictionaries.base import Dictionary
from steer.edits import Clamp, Edit, Value
from steer.effects.changes import clean_for, read_changes
from steer.effects.metric import Divergence, Loss, Metric, Reference, as_metrics
from steer.effects.statistics import Interval, interval
from steer.effects.sweep import TEXT
from steer.errors import SteerError
from steer.positions import Positions

if TYPE_CHECKING:
    import pandas

    from steer.model import Model

_MEASURES = ("effect", "kl", "delta_ce", "relative_dose")


@dataclass(frozen=True, eq=False)
class DoseResponse:
    """What each dose does, on each prompt.

    doses: as given; amounts: as multiples of the smallest unit they share, for ordering.
    effect, kl, delta_ce, relative_dose [doses, prompts]: change of the metric, KL(clean‖edited) at
        the last token, rise of the prompt's own loss in nats, and mean ‖Δ‖/‖x‖ at touched tokens.
    """

    feature: int
    doses: tuple[Value, ...]
    prompts: tuple[str, ...]
    metric: str
    effect: Tensor
    kl: Tensor
    delta_ce: Tensor
    relative_dose: Tensor

    def to_frame(self, *, level: float = 0.95, seed: int = 0) -> pandas.DataFrame:
        """One row a dose; each measure with the bounds of its interval over prompts."""
        import pandas

        rows = []
        for number, dose in enumerate(self.doses):
            row: dict[str, Any] = {"dose": dose}
            for name in _MEASURES:
                found = interval(getattr(self, name)[number], level=level, seed=seed)
                row |= {name: found.mean, f"{name}_low": found.low, f"{name}_high": found.high}
            rows.append(row)
        return pandas.DataFrame(rows)

    def strongest(self, budget: float = 0.5) -> Value | None:
        """The dose with the largest mean ‖Δ‖/‖x‖ whose ΔCE and that of all weaker ones of its sign
        stay within `budget` nats; None if there is none. 0.5 is Chalnev et al. 2024's."""
        mean, size = self.delta_ce.mean(1), self.relative_dose.mean(1)
        best: tuple[float, Value] | None = None
        for sign in (1, -1):
            side = [i for i, dose in enumerate(self.doses) if _sign(dose) == sign]
            for i in sorted(side, key=lambda i: size[i].item()):
                if mean[i] > budget:
                    break
                if best is None or size[i].item() > best[0]:
                    best = size[i].item(), self.doses[i]
        return best[1] if best else None

    def at(self, dose: Value) -> Interval:
        """The effect at one of the doses."""
        return interval(self.effect[self.doses.index(dose)])


def dose_response(
    model: Model,
    prompts: Sequence[str] | str,
    dictionary: Dictionary,
    feature: int,
    doses: Sequence[Value],
    *,
    metric: Metric | str | Sequence[Metric] = "kl",
    edit: Callable[..., Edit] = Clamp,
    positions: Positions = TEXT,
) -> DoseResponse:
    """Every dose of one feature's edit on every prompt, all doses of a prompt in one batch.

    edit: called as edit(feature, dose, positions=…); `Clamp` or `Add`.

    Raises `SteerError` for no doses, and what `Model.plans` and `Model.tokenize` raise.
    """
    if not doses:
        raise SteerError("no doses were given; give some, such as [-2, 0, 2] or ['1x max']")
    texts = (prompts,) if isinstance(prompts, str) else tuple(prompts)
    measures = as_metrics(model, metric, len(texts))
    found: dict[str, list[Tensor]] = {name: [] for name in _MEASURES}
    for number, text in enumerate(texts):
        ids, _ = model.tokenize([text])
        clean = clean_for(model, ids[0], dictionary, every=True)
        edits = [edit(feature, dose, positions=positions) for dose in doses]
        delta = torch.cat(
            [read_changes(clean, dictionary, [each]).delta([(0,)], clean.x.dtype) for each in edits]
        )
        edited = clean.resume(delta, every=True)
        with torch.inference_mode():
            for name, each in zip(
                _MEASURES[:3], (measures[number], Divergence(), Loss()), strict=True
            ):
                reference = Reference.of(clean.logits, clean.ids, edited.start, each.every)
                logits = edited.logits if each.every else edited.logits[:, -1:]
                found[name].append(each.change(logits, reference).double().cpu())
            touched = clean.touched(positions)
            share = delta.float().norm(dim=-1) / clean.x.float().norm(dim=-1)
            found["relative_dose"].append(share[:, touched].mean(1).double().cpu())
    columns = {name: torch.stack(values, dim=1) for name, values in found.items()}
    return DoseResponse(feature, tuple(doses), texts, type(measures[0]).__name__, **columns)


def _sign(dose: Value) -> int:
    amount = float(str(dose).split("x")[0])
    return 1 if amount >= 0 else -1
