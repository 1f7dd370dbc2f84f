"""A protocol for an intervention on a model: what is left open filled in, and all of it checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dictionaries.dictionary import Dictionary
from steer.edits import FeatureEdit, Intervention
from steer.edits.positions import Rows, canonical
from steer.effects.controls.elsewhere import wrong_site
from steer.errors import InterventionError, SteerError
from steer.features.fit import refuse_later
from steer.model import Model
from steer.splice.plan import SitePlan
from steer.splice.resolve import by_name, edited_contents
from steer.verdicts.claim import Claim
from steer.verdicts.frozen import digest, frozen_weights
from steer.verdicts.panel import PANEL, Behaviour
from steer.verdicts.protocol import Protocol
from steer.verdicts.texts import ASKING, NEUTRAL, WORDINGS, default_prompts, worded


def register(
    model: Model,
    intervention: Intervention,
    claim: Claim | None = None,
    *,
    dictionaries: Sequence[Dictionary] = (),
    prompts: Sequence[str | Sequence[str]] | None = None,
    neutral: Sequence[str] = NEUTRAL,
    panel: Sequence[Behaviour] = PANEL,
    frozen: str | None = None,
    **settings: Any,
) -> Protocol:
    """The protocol by which `claim` will be tested; nothing has run yet.

    prompts: texts, or each as a list of wordings, the same number of all.
    frozen: a dictionary of the edit's site that was trained with a frozen decoder, by catalogue
        name or folder, or one of `dictionaries` by its name: its rows are one more control.
    settings: other fields of `Protocol`, such as seed or draws.

    Raises what `Model.plans` and `Claim.resolve` raise, `InterventionError` for an intervention
    that can't be turned or moved to another site, or that edits no feature while `frozen` is given,
    and `SteerError` for an unknown setting, or a `frozen` that is none.
    """
    plan = testable_plan(model, intervention, dictionaries)
    if frozen is not None and not edited_features(intervention):
        raise InterventionError(
            f"rows of {frozen} are chosen to be as dense as the edited features, and this edits "
            "none: leave frozen out"
        )
    if claim is not None:
        claim.resolve(model)
    texts, wordings = _worded(prompts)
    try:
        return Protocol(
            model=model.name,
            fingerprint=model.fingerprint,
            dtype=model.precision,
            intervention=intervention,
            weights=weights(model, intervention, dictionaries),
            wrong_site=_elsewhere(model, plan),
            claim=claim,
            prompts=texts,
            wordings=wordings,
            neutral=tuple(neutral),
            panel=tuple(panel),
            asking=ASKING,
            frozen=frozen,
            frozen_weights=frozen_weights(model, frozen, plan, dictionaries),
            contents=contents(model, intervention, dictionaries),
            **settings,
        )
    except TypeError as error:
        raise SteerError(f"a protocol has no such setting: {error}") from error


def testable_plan(
    model: Model, intervention: Intervention, dictionaries: Sequence[Dictionary]
) -> SitePlan:
    """The intervention lowered. Raises `InterventionError` where no control is its equal."""
    if intervention.error != "keep":
        raise InterventionError(
            f"error={intervention.error!r} moves more than the edit does, and a verdict is of the "
            "edit: use error='keep'"
        )
    if any(isinstance(canonical(edit.positions), Rows) for edit in intervention.edits):
        raise InterventionError("positions by row are of one batch; a verdict takes many prompts")
    (plan,) = model.plans([intervention], dictionaries)
    refuse_later(plan.later, "a verdict is of edits at one site")
    return plan


def weights(
    model: Model, intervention: Intervention, dictionaries: Sequence[Dictionary]
) -> str | None:
    """Digest of the numbers that the edited features are made of; None if none is edited."""
    features = edited_features(intervention)
    given = by_name(dictionaries)
    whole = model.dictionary_of(intervention, given) if features else None
    if whole is None:
        return None
    return digest((whole.W_enc[:, features], whole.b_enc[features], whole.W_dec[features]))


def contents(
    model: Model, intervention: Intervention, dictionaries: Sequence[Dictionary]
) -> tuple[str, ...]:
    """Digests of the dictionaries that it names, in the order of their names."""
    return tuple(str(told[-1]) for told in edited_contents(model, [intervention], dictionaries))


def edited_features(intervention: Intervention) -> list[int]:
    """Of all its edits of features; empty where it edits directions alone."""
    return [edit.feature for edit in intervention.edits if isinstance(edit, FeatureEdit)]


def _worded(
    prompts: Sequence[str | Sequence[str]] | None,
) -> tuple[tuple[tuple[str, ...], ...], tuple[str, ...]]:
    if prompts is None:
        return default_prompts(), WORDINGS
    if all(isinstance(prompt, str) for prompt in prompts):
        return worded([str(prompt) for prompt in prompts]), WORDINGS
    several = [(prompt,) if isinstance(prompt, str) else tuple(prompt) for prompt in prompts]
    return tuple(several), tuple(f"wording {n + 1}" for n in range(len(several[0])))


def _elsewhere(model: Model, plan: SitePlan) -> str:
    site = wrong_site(model, plan.out)
    if site is None:
        raise SteerError(f"the model has no site like {plan.out.hookpoint} to compare with")
    return str(site.hookpoint)


def differences(protocol: Protocol, now: Mapping[str, object]) -> list[str]:
    """What of the model and the dictionary is not what the protocol was written for."""
    return [
        f"{name} was {getattr(protocol, name)}, and is {value}"
        for name, value in now.items()
        if getattr(protocol, name) != value
    ]
