"""Prompts with one intervention: their clean passes, and what it adds to them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from torch import Tensor

from dictionaries.dictionary import Dictionary
from steer.edits import Intervention
from steer.effects.passes.changes import edit_delta
from steer.effects.passes.clean import Clean, run_clean
from steer.effects.passes.plans import plan_each
from steer.errors import SilentEditError
from steer.lm.anatomy import Site
from steer.model import Model
from steer.splice.plan import SitePlan


@dataclass(frozen=True, eq=False)
class EditedPrompt:
    """A clean pass over a prompt of s tokens, and what the intervention adds to it, [s, d].

    sign: whether it raises (1) or lowers (-1) what it edits.
    """

    number: int
    clean: Clean
    delta: Tensor
    sign: float

    @property
    def acted(self) -> bool:
        return bool(self.delta.any())


def written_site(
    model: Model, intervention: Intervention, dictionaries: Sequence[Dictionary], prompts: int
) -> Site:
    """Where the intervention writes. Raises what `plan_each` raises."""
    return plan_each(model, intervention, dictionaries, prompts)[0].out


def edited_prompts(
    model: Model,
    prompts: Sequence[str],
    intervention: Intervention,
    dictionaries: Sequence[Dictionary] = (),
    *,
    others: Sequence[Site] = (),
) -> Iterator[EditedPrompt]:
    """Each prompt run clean, with the activations at `others` kept.

    Raises what `plan_each` and `Model.tokenize` raise; `SilentEditError`, at the end, if the
    intervention changes nothing on any prompt.
    """
    plans = plan_each(model, intervention, dictionaries, len(prompts))
    acted = False
    for number, (prompt, plan) in enumerate(zip(prompts, plans, strict=True)):
        edited = edited_prompt(model, number, prompt, plan, others)
        acted |= edited.acted
        yield edited
    if not acted:
        raise silent(intervention, len(prompts))


def edited_prompt(
    model: Model, number: int, prompt: str, plan: SitePlan, others: Sequence[Site] = ()
) -> EditedPrompt:
    """One prompt run clean, with the activations at `others` kept."""
    read = [] if plan.site == plan.out else [plan.site]
    ids = model.tokenize([prompt])[0][0]
    clean = run_clean(model, ids, plan.out, [*read, *others], every=False)
    return EditedPrompt(number, clean, *edit_delta(clean, plan))


def silent(intervention: Intervention, prompts: int) -> SilentEditError:
    """The error of an intervention that changes nothing on any of so many prompts."""
    kinds = ", ".join(edit.kind for edit in intervention.edits) or "no edit"
    return SilentEditError(
        f"{kinds} of {intervention.dictionary} changes nothing on these {prompts} "
        "prompts, so there is no effect to measure; see what is active with Model.features"
    )
