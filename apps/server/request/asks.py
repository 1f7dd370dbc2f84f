"""From a request's fields to the rows that it asks for."""

from __future__ import annotations

import secrets
from collections.abc import Sequence

from apps.server.request.bodies import MOST_ROWS, BodyError, Generating, Steered
from apps.server.request.offer import Offer
from steer.edits import Edit, Intervention
from steer.edits.positions import Canonical, Rows, canonical, slice_parts
from steer.errors import InterventionError
from steer.lm.prompts import Prompt
from steer.runs.sampling import Sampling
from steer.serving.ask import Ask, Penalties


def acting(offer: Offer, body: Steered) -> tuple[Intervention, ...]:
    """The interventions that a request means, from its model's id or its body.

    Raises `SteerError` for an unknown model or dictionary, two that say different things, or what
    `offer.interventions` refuses.
    """
    named = offer.named(body.model)
    if "steering" in body.model_fields_set and body.steering is None:
        raise BodyError("steering is null: give [] for unsteered text, or leave it out")
    given = [name for name in ("steering", "vllm_xargs") if name in body.model_fields_set]
    given = [name for name in given if getattr(body, name) is not None]
    if len(given) == 2:
        raise BodyError("steering and vllm_xargs.steer both say what acts: give one")
    if not given:
        return named
    if "@" in body.model and body.model != offer.name:
        raise BodyError(
            f"the model {body.model} brings an edit and {given[0]} says what acts: give one; "
            f"{offer.name} brings none"
        )
    extra = body.vllm_xargs
    return offer.interventions(body.steering if extra is None else extra.steer)


def sampling(body: Generating, choice: int, seed: int) -> Sampling:
    """How the choice of this number draws; OpenAI's defaults, and a seed of its own."""
    return Sampling(
        temperature=1.0 if body.temperature is None else body.temperature,
        top_p=body.top_p,
        top_k=body.top_k if body.top_k and body.top_k > 0 else None,
        min_p=body.min_p,
        repetition_penalty=body.repetition_penalty or 1.0,
        seed=(seed + choice) % 2**63,
    )


def asks(
    offer: Offer,
    body: Generating,
    prompts: Sequence[Prompt],
    *,
    max_tokens: int,
    top: int | None,
    echo: bool = False,
    context: int | None = None,
) -> list[Ask]:
    """A row for each prompt and choice, prompts first. Without a seed, one is drawn, and told."""
    interventions, choices = acting(offer, body), body.n or 1
    if len(prompts) * choices > MOST_ROWS:
        raise BodyError(
            f"{len(prompts)} prompts, {choices} choices each, are more than {MOST_ROWS} texts"
        )
    if echo and top is not None and context is None:
        _refuse_prompt_ends(interventions)
    if body.stream_options is not None and not body.stream:
        raise BodyError("stream_options without stream tells nothing: set stream to true")
    if body.silent == "error" and not interventions:
        raise BodyError('silent: "error" is of edits, and nothing here acts')
    seed = body.seed
    if seed is None:
        seed = 0 if body.temperature == 0 else secrets.randbelow(2**31)
    stop = body.stop or ()
    return [
        Ask(
            prompt=prompt,
            interventions=interventions,
            sampling=sampling(body, choice, seed),
            penalties=Penalties(body.frequency_penalty or 0.0, body.presence_penalty or 0.0),
            max_tokens=max_tokens,
            stop=(stop,) if isinstance(stop, str) else tuple(stop),
            top=top,
            echo=echo,
            context=context,
            refuse_silent=body.silent == "error",
        )
        for prompt in prompts
        for choice in range(choices)
    ]


def _refuse_prompt_ends(interventions: Sequence[Intervention]) -> None:
    """Of a text that is scored it is not known where its prompt ends."""
    for edit in (edit for intervention in interventions for edit in intervention.edits):
        if asks_for_the_end(edit):
            raise InterventionError(
                f"{edit.kind} at {edit.positions!r}"
                f"{'' if edit.schedule is None else f', {edit.schedule}'} depends on where the "
                "prompt ends, and a text that is echoed and scored does not say it: give "
                "context_tokens, how many of its tokens are the prompt"
            )


def asks_for_the_end(edit: Edit) -> bool:
    """Whether what an edit does depends on where the prompt ends."""
    return edit.schedule is not None or _from_the_end(canonical(edit.positions))


def _from_the_end(positions: Canonical) -> bool:
    match positions:
        case "prompt" | "generated" | "last":
            return True
        case int():
            return positions < 0
        case "all" | "text":
            return False
        case str():
            return any(part is not None and part < 0 for part in slice_parts(positions)[:2])
        case Rows(specs=specs):
            return any(_from_the_end(spec) for spec in specs)
        case tuple():
            return any(position < 0 for position in positions)
    return False
