"""Which features make the model say the indirect object's name, and how surely that is known.

On the cases of `ioi_prompts`: the exact effect of ablating each feature on logit(Mary) −
logit(John), with controls; the gradients' estimates of the same; and how far they agree.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from apps.studies.ioi_prompts import Case, logit_differences
from apps.studies.ioi_prompts import cases as cases  # the command asks for both here
from steer.effects.attribution.result import Agreement, Attribution
from steer.effects.sweep.result import Sweep

if TYPE_CHECKING:
    from dictionaries.dictionary import Dictionary
    from steer.model import Model
    from steer.progress import Progress


@dataclass(frozen=True, eq=False)
class Story:
    """The sweep, the estimates and their agreements, on the same cases.

    accuracy: share of the cases where the answer's logit is the larger of the two names'.
    difference: mean clean logit difference.
    """

    cases: tuple[Case, ...]
    accuracy: float
    difference: float
    sweep: Sweep
    estimates: tuple[Attribution, ...]
    agreements: tuple[Agreement, ...]

    def to_dict(self, top: int | None = None) -> dict[str, Any]:
        """Plain data, for JSON."""
        return {
            **self.sweep.to_dict(top),
            "accuracy": self.accuracy,
            "difference": self.difference,
            "agreement": [agreement.to_dict() for agreement in self.agreements],
        }


def story(
    model: Model,
    dictionary: Dictionary,
    chosen: Sequence[Case],
    *,
    draws: int = 4,
    k: int = 10,
    progress: Progress | None = None,
) -> Story:
    """Sweep, attribute (gradient × activation, and integrated gradients) and compare."""
    from steer.effects.attribution.attribution import attribution
    from steer.effects.attribution.result import compare
    from steer.effects.sweep.ablation_sweep import ablation_sweep
    from steer.effects.sweep.controls import Against

    prompts = [case.prompt for case in chosen]
    metrics = [case.metric for case in chosen]
    against = Against(draws=draws) if draws else None
    swept = ablation_sweep(
        model, prompts, dictionary, metric=metrics, against=against, progress=progress
    )
    estimates = [
        attribution(model, prompts, dictionary, metrics, method=method, progress=progress)
        for method in ("atp", "ig")
    ]
    clean = logit_differences(model, chosen, batch=1)
    guesses: list[Attribution | str] = [*estimates, "activation"]
    return Story(
        cases=tuple(chosen),
        accuracy=sum(value > 0 for value in clean) / len(clean),
        difference=sum(clean) / len(clean),
        sweep=swept,
        estimates=tuple(estimates),
        agreements=tuple(compare(guess, swept, k=k) for guess in guesses),
    )
