"""How much of an effect goes through a later dictionary's features, and how much on its error.

The edited run is repeated with the later site's error term frozen at its clean value: what is left
of the effect went through the features; the rest rode on what that dictionary does not explain.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from dictionaries.dictionary import Dictionary
from steer.edits import Intervention, as_tuple
from steer.edits.rows import of_row
from steer.effects.logits.logit_effect import logit_effect
from steer.errors import InterventionError
from steer.lm.prompts import as_texts
from steer.model import Model
from steer.splice.resolve import by_name


@dataclass(frozen=True, eq=False)
class ErrorSplit:
    """Change of the last token's logits on n prompts, in two parts that add up.

    total, through_features, on_error [n, V]: Δ logit, and its two parts.
    kl_total, kl_features [n]: KL(clean‖edited) in nats, of the edit and with the error frozen.
    """

    total: Tensor
    through_features: Tensor
    on_error: Tensor
    kl_total: Tensor
    kl_features: Tensor

    @property
    def share_on_error(self) -> Tensor:
        """‖on_error‖² / (‖on_error‖² + ‖through_features‖²) of each prompt, [n]."""
        error, features = (part.square().sum(-1) for part in (self.on_error, self.through_features))
        return error / (error + features).clamp(min=1e-30)


def error_split(
    model: Model,
    prompts: Sequence[str] | str,
    intervention: Intervention | Sequence[Intervention],
    later: str,
    *,
    dictionaries: Sequence[Dictionary] = (),
) -> ErrorSplit:
    """Split the effect of an intervention at the site of dictionary `later`.

    Raises `InterventionError` if `later` is not behind every edited site.
    """
    edits, texts = as_tuple(intervention), as_texts(prompts)
    frozen = Intervention(later, [], error="frozen")
    given = by_name(dictionaries)
    behind = model.dictionary_of(frozen, given)
    if behind is None:
        raise InterventionError(f"{later!r} is a hookpoint; name the dictionary that explains it")
    last = model.site(model.site_of(behind)).hookpoint.order
    plans = model.plans(of_row(edits, 0, len(texts)), dictionaries)
    written = [site.hookpoint for plan in plans for site in plan.outs]
    if late := [str(hookpoint) for hookpoint in written if hookpoint.order >= last]:
        raise InterventionError(f"{later} must be behind every edit, and {', '.join(late)} is not")
    whole = logit_effect(model, texts, edits, dictionaries=dictionaries, draws=0)
    held = logit_effect(
        model, texts, [*edits, frozen], dictionaries=dictionaries, draws=0, if_silent="ignore"
    )
    return ErrorSplit(
        total=whole.delta_logit,
        through_features=held.delta_logit,
        on_error=whole.delta_logit - held.delta_logit,
        kl_total=whole.kl,
        kl_features=held.kl,
    )
